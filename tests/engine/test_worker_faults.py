"""Faults of Ray's workers, each met once by every trial whose first choice is 0."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.executors import ComputeSettings, Executor
from nas.executors.inline import InlineExecutor
from nas.executors.ray.executor import RayExecutor
from nas.study.failures import FailureKind
from nas.study.interfaces import Evaluator, Event
from nas.study.settings import StudySettings
from nas.study.study import Study
from nas.study.trial import Record, Trial
from tests.engine.onlooker import story
from tests.engine.toys import Mixed, make_study, scored, total

pytestmark = pytest.mark.faults

BUDGET = 16
IN_ORDER = StudySettings(delivery="proposal", window=2, backoff=())


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[RayExecutor]:
    with RayExecutor(ComputeSettings(workers=2, trial_timeout=5.0)) as executor:
        yield executor


class Hungry:
    """Asks for 256 MB where its process may have 64 more, once."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        marker = self.scratch / str(seed)
        if candidate["l0"] == 0 and not marker.exists():
            marker.touch()
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            before = resource.getrlimit(resource.RLIMIT_AS)
            limit = pages * resource.getpagesize() + 64 * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
            try:
                bytearray(256 * 2**20)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
        return total(candidate, seed)


def ran(
    executor: Executor,
    controller: str,
    evaluator: Evaluator,
    watch: Callable[[Study, Event], None] = lambda study, event: None,
) -> list[Record]:
    study = make_study(controller=controller, budget=BUDGET, settings=IN_ORDER, max_failures=1.0)
    executor.run(study, evaluator, lambda event: watch(study, event))
    assert study.completed == BUDGET and study.in_flight == 0
    return list(study.records.values())


def check_equal(found: list[Record], controller: str, *kinds: FailureKind) -> None:
    """All is as without the fault, but that some trials needed a second attempt."""
    quiet = ran(InlineExecutor(), controller, total)
    assert story(found) == story(quiet)
    assert [(row.ask_seq, row.tell_seq) for row in found] == [
        (row.ask_seq, row.tell_seq) for row in quiet
    ]
    run = [row for row in found if row.cached_from is None]
    assert all(row.attempts == 1 + len(row.retried) for row in run)
    if kinds:
        assert any(row.retried for row in run)
        assert all(row.retried == (kinds if row.code[0] == 0 else ()) for row in run)


def test_worker_sigkill(ray_executor: RayExecutor, tmp_path: Path) -> None:
    found = ran(ray_executor, "evolution", Mixed(tmp_path, {0: "once kill"}))
    check_equal(found, "evolution", FailureKind.LOST)


def test_worker_hang(ray_executor: RayExecutor, tmp_path: Path) -> None:
    found = ran(ray_executor, "random", Mixed(tmp_path, {0: "once hang"}))
    check_equal(found, "random", FailureKind.TIMEOUT)


def test_worker_out_of_memory(ray_executor: RayExecutor, tmp_path: Path) -> None:
    found = ran(ray_executor, "reinforce", Hungry(tmp_path))
    check_equal(found, "reinforce", FailureKind.OUT_OF_MEMORY)


def test_duplicate_completion(ray_executor: RayExecutor) -> None:
    told: list[Trial] = []

    def again(study: Study, event: Event) -> None:
        if event.kind == "completed":
            told.append(event.trial)
            for trial in told:  # at once, and after each of the others
                assert not study.tell(trial, scored(99.0))

    check_equal(ran(ray_executor, "ppo", total, again), "ppo")
    assert len(told) == len({trial.number for trial in told}) == BUDGET


def test_late_completion(ray_executor: RayExecutor, tmp_path: Path) -> None:
    first: dict[int, Trial] = {}
    late: list[bool] = []

    def watch(study: Study, event: Event) -> None:
        trial = event.trial
        if event.kind == "asked" and trial.attempt == 1:
            first[trial.number] = trial
        elif event.kind == "retry" or trial.attempt == 2:
            # While it waits to be begun again, while it runs again, and when that has ended.
            late.append(study.tell(first[trial.number], scored(99.0)))

    found = ran(ray_executor, "predictor", Mixed(tmp_path, {0: "once kill"}), watch)
    check_equal(found, "predictor", FailureKind.LOST)
    assert late == [False] * 3 * sum(bool(row.retried) for row in found)
