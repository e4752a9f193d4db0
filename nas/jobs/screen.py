"""What jobs show while they work: one look of progress bars, and quiet libraries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(highlight=False)
"""Where jobs print; narrow terminals wrap, files get no colours."""

Step = Callable[[int, int], None]
"""Told about (done, total) while something long goes on."""


def progress_bar() -> Progress:
    """Description, bar, count, time spent and time left, then ``fields["note"]``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


@contextmanager
def counted(description: str) -> Iterator[Step]:
    """A bar that appears with the first step and goes when the work is done."""
    bar = progress_bar()
    bar.live.transient = True
    bar.disable = not console.is_terminal  # else a file gets an empty line for it
    task = bar.add_task(description, total=None, note="")

    def step(done: int, total: int) -> None:
        if not bar.live.is_started and not bar.disable:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield step
    finally:
        bar.stop()


def say_in_logs(line: str) -> None:
    """Prints a line where no bar can be drawn: in a file or a pipe."""
    if not console.is_terminal:
        console.print(line, soft_wrap=True, markup=False)


class _Once(logging.Filter):
    """Lets a message through once: what several steps of a command meet is said once."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
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
        handler = RichHandler(
            console=console, show_time=False, show_path=False, show_level=False, markup=False
        )
        handler.setFormatter(logging.Formatter("note: %(message)s"))
        handler.addFilter(_ONCE)
        logger.addHandler(handler)
        logger.propagate = False
