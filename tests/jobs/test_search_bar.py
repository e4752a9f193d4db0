"""What a search says of its trials while it runs."""

from __future__ import annotations

import pytest

from nas.config.schema import SearchConfig
from nas.planning.search_plan import plan_of
from nas.study.interfaces import Event
from nas.study.trial import Record, Status, Trial
from nas.ui.console import console, progress_bar
from nas.ui.search_progress import SearchProgress


def record(number: int, ap50: float, status: Status) -> Record:
    row = Record(number, "controller", "controller", "search", (number,), "k", 0)
    row.status, row.metrics = status, {"ap50": ap50}
    return row


def told(number: int, ap50: float, stopped: bool = False) -> Event:
    trial = Trial(number, "controller", (number,), "k", None, 0)
    return Event("completed", trial, {"ap50": ap50}, stopped=stopped)


def said(event: Event, rows: list[Record], capsys: pytest.CaptureFixture[str]) -> str:
    assert not console.is_terminal
    with progress_bar() as bar:
        progress = SearchProgress(bar, plan_of(SearchConfig()), "ap50", rows, keep=lambda: None)
        progress(event)
    return capsys.readouterr().out


def test_a_stopped_trial_is_never_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    line = "trial 2 (controller): stopped early at ap50 0.600; best ap50 0.200\n"
    assert line in said(told(2, 0.6, stopped=True), [record(0, 0.2, Status.DONE)], capsys)
    alone = said(told(2, 0.031, stopped=True), [], capsys)
    assert "trial 2 (controller): stopped early at ap50 0.031\n" in alone


def test_a_search_that_goes_on_knows_its_best(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [record(0, 0.2, Status.DONE), record(1, 0.9, Status.STOPPED)]
    assert "ap50 0.100; best ap50 0.200\n" in said(told(2, 0.1), rows, capsys)
    assert "ap50 0.300; best ap50 0.300\n" in said(told(2, 0.3), rows, capsys)
