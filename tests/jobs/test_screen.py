"""What is printed is whole and can't be read as markup, on any width."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nas.evaluation.metrics import ClassNumbers, Metrics
from nas.jobs import doctor
from nas.ui import console as screen
from nas.ui.console import Screen
from nas.ui.metric_tables import _ROWS, classes_table

NAMES = ["[red]", "[v2] bolt", "[/]", ":smile:", "[link=http://x]y[/link]", "größe 箱"]
STEERING = {"\x1b[2Jgone": "\\x1b[2Jgone", "a\nb": "a\\nb", "\udce9.png": "\\udce9.png"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*objects: object, width: int | None = None, tty: bool = False) -> str:
    out = Terminal() if tty else io.StringIO()
    Screen(file=out, width=width, color_system=None).print(*objects)
    return out.getvalue()


def metrics_of(name: str) -> Metrics:
    numbers = {field: 0.5 for _, field, _ in _ROWS}
    return Metrics(**numbers, per_class={name: ClassNumbers(boxes=12, ap=0.5, ap50=0.5)})


def a_table(names: list[str]) -> Table:
    table = Table(title=f"{names[0]} and what follows in a title of some length", caption=names[-1])
    table.add_column("class")
    table.add_column("AP", justify="right")
    for name in names:
        table.add_row(name, "0.12345")
    return table


@pytest.mark.parametrize("name", NAMES)
def test_names_are_never_markup(name: str) -> None:
    text = shown(f"{name}: done", a_table([name]), Group(Text(f"{name}!"), a_table([name])))
    assert f"{name}: done\n" in text and f"{name}!\n" in text
    assert text.count(name) == 2 + 2 * 3
    assert text.count(f"{name} and what follows in a title of some length\n") == 2


@pytest.mark.parametrize("name", STEERING)
def test_names_never_steer_a_terminal(name: str) -> None:
    text = shown(f"{name}: done", a_table([name]), classes_table(metrics_of(name)))
    assert f"{STEERING[name]}: done\n" in text
    assert f" {STEERING[name]} " in text.splitlines()[-2]  # of the classes
    assert "\x1b" not in text
    text.encode()


@pytest.mark.parametrize("width", [1, 20, 40, 80, 1000])
@pytest.mark.parametrize("tty", [False, True])
def test_nothing_is_cut_on_any_width(width: int, tty: bool) -> None:
    names = ["spark-plug-of-an-engine-with-a-long-name", "nut", "washer of brass"]
    text = shown(a_table(names), width=width, tty=tty)
    assert "…" not in text
    assert text.count("0.12345") == 3
    letters = re.sub(r"[^a-z]", "", text)
    for name in names:
        if not tty:
            assert name in text
        assert re.sub(r"[^a-z]", "", name) in letters  # perhaps over several lines
    assert "spark-plug-of-an-engine-with-a-long-name and what follows in a title" in text


def test_a_pipe_gets_tables_as_wide_as_they_are() -> None:
    row = ["a cell of some length"] * 12
    table = Table(*row)
    table.add_row(*row)
    line = shown(table, width=40).splitlines()[3]
    assert line.count("a cell of some length") == 12


def test_a_line_is_never_wrapped() -> None:
    line = " ".join(["word"] * 100)
    assert shown(line, width=20) == shown(line, width=20, tty=True) == line + "\n"


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    out = io.StringIO()
    monkeypatch.setattr(screen, "console", Screen(file=out, width=40))
    logger = logging.getLogger("nas")
    before, logger.handlers = logger.handlers, []
    propagate = logger.propagate
    screen.show_warnings()
    yield out
    logger.handlers, logger.propagate = before, propagate


def test_a_note_is_one_whole_line(notes: io.StringIO) -> None:
    logging.getLogger("nas.data").warning("%s: %s", "[v2]/\x1b[1mval.json", "word " * 30)
    assert notes.getvalue() == f"note: [v2]/\\x1b[1mval.json: {'word ' * 30}\n"


def test_force_color_gives_a_pipe_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    console = Screen(file=out)
    assert console.color_system and not console.is_terminal and not console.has_bars


def test_a_dumb_terminal_gets_lines_for_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console = Screen(file=Terminal())
    assert console.is_terminal and not console.has_bars
    monkeypatch.setattr(screen, "console", console)
    assert screen.progress_bar().disable
    screen.say_in_logs("epoch 1/2")
    assert console.file.getvalue() == "epoch 1/2\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_bar_keeps_its_count_and_its_note(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    console = Screen(file=out, width=width, color_system=None)
    monkeypatch.setattr(screen, "console", console)
    with screen.progress_bar() as bar:
        bar.add_task("[trials]", total=1200, completed=7, note="best ap50 0.123, over at 17:45")
    last = out.getvalue().rpartition("\x1b[2K")[2]
    assert "[trials]" in last and "7/1200" in last
    assert "…" not in last
    assert width < 30 or "0.123" in last


def test_doctor_tells_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.Finding("cache", "/data/[red]/\x1b[1m", good=False, remedy="make [room]")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: finding,))
    monkeypatch.setattr(doctor, "examine", lambda check: check())
    out = io.StringIO()
    assert not doctor.doctor(Screen(file=out))
    assert out.getvalue() == "✘ cache: /data/[red]/\\x1b[1m; make [room]\n"
