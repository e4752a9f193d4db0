"""What jobs show while they work: whole lines, tables, one look of progress bars, quiet libraries.

Names of classes, files and runs are the user's: nothing in them is read as markup, none of their
characters steers a terminal, and none is cut away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segments
from rich.table import Column, Table
from rich.text import Text

from nas.errors import printable

WIDEST = 100_000
"""Characters of a line in a file or a pipe."""
LEAST_TEXT = 16
"""Characters that a column of texts keeps on a narrow terminal; longer words go on below."""


class Screen(Console):
    """Where jobs print: whole lines and whole numbers, whatever is behind standard output.

    A file or a pipe gets no bars, and tables as wide as they are. A terminal gets tables of its
    width, in which texts are wrapped; where that is too few for the numbers, they are wider.
    """

    def __init__(self, **options: Any) -> None:
        self._is_made = False
        super().__init__(**options, highlight=False, markup=False, emoji=False)
        self._is_made = True

    @property
    def is_terminal(self) -> bool:
        """Whether bars can be drawn; FORCE_COLOR gives colours to a pipe, but no bars."""
        return super().is_terminal and (not self._is_made or self.file.isatty())

    @property
    def has_bars(self) -> bool:
        """Whether lines can be drawn over; a terminal that is `dumb` can't."""
        return self.is_terminal and not self.is_dumb_terminal

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints each string as one whole line, and tables as wide as they must be."""
        if not objects or not all(isinstance(o, str | Text | Table | Group) for o in objects):
            super().print(*objects, **options)
            return
        for one in objects:
            if isinstance(one, Group):
                self.print(*one.renderables)
            elif isinstance(one, Table):
                self._print_table(one)
            else:
                text = Text(printable(one)) if isinstance(one, str) else one
                super().print(text, soft_wrap=True, style=options.get("style"))

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a table's cell or title of a string."""
        lines = map(printable, text.split("\n"))
        return super().render_str("\n".join(lines), **options)

    def _print_table(self, table: Table) -> None:
        title, caption = table.title, table.caption
        table.title = table.caption = None
        try:
            # A title isn't wrapped to its table's width: it may be a path.
            self._print_beside(title, "table.title")
            width = self._table_width(table)
            segments = Segments(self.render(table, self.options.update(width=width)))
            super().print(segments, crop=False)
            self._print_beside(caption, "table.caption")
        finally:
            table.title, table.caption = title, caption

    def _print_beside(self, text: RenderableType | None, style: str) -> None:
        if text is not None:
            text = Text(printable(text), style=style) if isinstance(text, str) else text
            super().print(text, soft_wrap=True)

    def _table_width(self, table: Table) -> int:
        options = self.options.update(width=WIDEST)
        for column in table.columns:
            column.overflow = "fold"
            column.no_wrap = column.no_wrap or column.justify == "right"
        if not self.is_terminal:
            return Measurement.get(self, options, table).maximum
        _, right, _, left = table.padding
        least = 1 + len(table.columns) * (left + right + 1)
        for column in table.columns:
            cells = [
                Measurement.get(self, options, cell) for cell in (column.header, *column.cells)
            ]
            widest = max(cell.maximum if column.no_wrap else cell.minimum for cell in cells)
            least += widest if column.no_wrap else min(widest, LEAST_TEXT)
        return max(self.width, least)


console = Screen()

Step = Callable[[int, int], None]
"""Told about (done, total) while something long goes on."""


def progress_bar() -> Progress:
    """Makes a bar of description, count, times and `fields["note"]`, as many as fit."""
    width = console.width
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    columns += [BarColumn(bar_width=24)] if width >= 80 else []
    columns.append(MofNCompleteColumn())
    if width >= 60:
        left = TextColumn("left", markup=False)
        columns += [TimeElapsedColumn(), left, TimeRemainingColumn(compact=True)]
    if width >= 30:
        below = Column(overflow="fold")  # what doesn't fit beside the others goes on below
        columns.append(TextColumn("{task.fields[note]}", markup=False, table_column=below))
    return Progress(*columns, console=console, disable=not console.has_bars)


@contextmanager
def counted(description: str) -> Iterator[Step]:
    """Shows a bar that appears with the first step and goes when the work is done."""
    bar = progress_bar()
    bar.live.transient = True
    task = bar.add_task(description, total=None, note="")

    def step(done: int, total: int) -> None:
        if not bar.live.is_started and not bar.disable:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield step
    finally:
        if bar.live.is_started:
            bar.stop()


def say_in_logs(line: str) -> None:
    """Prints a line where no bar can be drawn: in a file or a pipe."""
    if not console.has_bars:
        console.print(line)


class _Notes(logging.Handler):
    """Prints what the toolkit logs, each as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        console.print(f"note: {record.getMessage()}")


class _Once(logging.Filter):
    """Lets a message through once: what several steps of a command meet is said once."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the message is new."""
        message = record.getMessage()
        is_new = message not in self.shown
        self.shown.add(message)
        return is_new


_ONCE = _Once()


def show_warnings() -> None:
    """Lets warnings of the toolkit appear as one line each, above a bar that is running.

    Called at the start of a command, within which no warning appears twice.
    """
    _ONCE.shown.clear()
    logger = logging.getLogger("nas")
    if not logger.handlers:
        handler = _Notes()
        handler.addFilter(_ONCE)
        logger.addHandler(handler)
        logger.propagate = False
