"""Trials in this process: what is in the file when something starts, or is shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from nas.controllers.random import Random
from nas.errors import RunError
from nas.executors import ComputeSettings, make_executor
from nas.searching import search
from nas.space import Code
from nas.study.interfaces import Event
from nas.study.settings import NO_CONTROL
from nas.study.store import FILE_NAME, Store
from nas.study.trial import Record, Status
from tests.engine.toys import SPACES, make_study, total


def rows(run: Path) -> list[Record]:
    """What a reader finds: only what was committed."""
    with Store.open_readonly(run / FILE_NAME) as store:
        return store.records()


def statuses(run: Path) -> list[Status]:
    return [row.status for row in rows(run)]


def test_what_came_before_is_recorded_when_a_trial_starts_or_is_shown(tmp_path: Path) -> None:
    seen: list[list[Status]] = []
    shown: list[tuple[str, Status]] = []

    def evaluate(candidate: dict[str, int], seed: int) -> float:
        seen.append(statuses(tmp_path))
        assert rows(tmp_path)[-1].seed == seed
        return total(candidate, seed)

    def show(event: Event) -> None:
        shown.append((event.kind, statuses(tmp_path)[event.trial.number]))

    search(SPACES["product"](), evaluate, "evolution", budget=5, run=tmp_path, on_event=show)
    assert seen == [[Status.DONE] * before + [Status.ASKED] for before in range(5)]
    assert shown == [("asked", Status.ASKED), ("completed", Status.DONE)] * 5
    assert statuses(tmp_path) == [Status.DONE] * 5


@pytest.mark.parametrize(("pause", "commits"), [(0.0, 6), (0.11, 10)])
def test_only_brief_trials_share_commits(pause: float, commits: int) -> None:
    class Counting(Store):
        written = 0

        def write(self, *records: Record) -> None:
            self.written += 1
            super().write(*records)

    def evaluate(candidate: dict[str, int], seed: int) -> float:
        time.sleep(pause)
        return 1.0

    store = Counting.open(None)
    study = make_study(store, budget=5)
    make_executor(ComputeSettings(executor="inline")).run(study, evaluate)
    assert study.completed == 5 and store.written == commits


def test_a_long_trial_is_recorded_before_the_next_is_proposed(tmp_path: Path) -> None:
    proposing: list[list[Status]] = []

    class Watching(Random):
        def propose(self, number: int, draw: int = 0) -> Code:
            if number:
                proposing.append(statuses(tmp_path))
            return super().propose(number, draw)

    def evaluate(candidate: dict[str, int], seed: int) -> float:
        time.sleep(0.11)
        return 1.0

    search(SPACES["product"](), evaluate, Watching, budget=3, settings=NO_CONTROL, run=tmp_path)
    assert proposing == [[Status.DONE], [Status.DONE] * 2]


def test_what_was_told_is_recorded_although_the_search_stops_there(tmp_path: Path) -> None:
    def evaluate(candidate: dict[str, int], seed: int) -> Any:
        raise ValueError("no such kernel")

    with pytest.raises(RunError, match="5 of 5 trials failed"):
        search(SPACES["product"](), evaluate, "random", budget=30, run=tmp_path)
    assert statuses(tmp_path) == [Status.FAILED] * 5
