"""The driver is killed at any instant, results being told as they come."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from nas.controllers import ControllerSettings, make_controller
from nas.executors.worker import pinned_threads
from nas.study.objective import ObjectiveSettings
from nas.study.settings import StudySettings
from nas.study.store import FILE_NAME, Store
from nas.study.study import Study
from nas.study.trial import Outcome, Record, Status, Trial
from tests.engine.driver import SPACE, Order
from tests.engine.onlooker import (
    check_books,
    finished,
    killable,
    resumed,
    rows,
    story,
    undisturbed,
    until,
    workers,
)
from tests.engine.toys import noisy, scored


def check_resumption(order: Order, with_signal: int) -> str:
    with killable(order) as driver:
        driver.end_after(8, with_signal)
        before = {row.number: row for row in rows(order.run) if row.status is not Status.ASKED}
        assert 8 <= len(before) < order.budget
        resumed(order)
        after = check_books(order)
        assert {row.number: row for row in after if row.number in before} == before
        evaluated = Counter(order.evaluated.read_text().split())
        # What was in flight may have been evaluated and not told: it alone is run again.
        assert all(evaluated[str(row.seed)] == 1 for row in before.values())
        assert sum(evaluated.values()) <= order.budget + 2
        if order.executor == "inline":
            assert story(after) == story(undisturbed(order))
        return driver.said()


def test_sigkill_loses_nothing(tmp_path: Path) -> None:
    check_resumption(Order(tmp_path / "run", seconds=0.1), signal.SIGKILL)


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_on_purpose_says_how_to_go_on(tmp_path: Path, with_signal: int) -> None:
    said = check_resumption(Order(tmp_path / "run", seconds=0.1), with_signal)
    assert "nothing finished is lost" in said


@pytest.mark.faults
@pytest.mark.parametrize("controller", ["random", "ppo"])
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_any_controller_and_executor(tmp_path: Path, controller: str, executor: str) -> None:
    check_resumption(Order(tmp_path / "run", controller, executor, seconds=0.2), signal.SIGKILL)


@pytest.mark.faults
def test_a_stop_on_purpose_with_ray(tmp_path: Path) -> None:
    order = Order(tmp_path / "run", executor="ray", seconds=0.2)
    assert "nothing finished is lost" in check_resumption(order, signal.SIGINT)


@pytest.mark.faults
@pytest.mark.parametrize("controller", ["predictor", "ppo"])
def test_the_next_twenty_proposals_are_those_of_a_driver_that_lived(
    tmp_path: Path, controller: str
) -> None:
    order = Order(tmp_path / "run", controller, "ray", seconds=0.3, budget=500)
    with killable(order) as driver:
        until(lambda: len(finished(order.run)) >= 5, driver)
        while not any(row.retried for row in rows(order.run)):
            until(lambda: len(workers(order)) == 2, driver)
            os.kill(workers(order)[0], signal.SIGKILL)
            time.sleep(1.0)
        driver.end_after(32, signal.SIGKILL)
    with pinned_threads(1), Store.open(order.run / FILE_NAME) as left:
        recorded = left.records()
        studies = opened(controller, left), relived(controller, recorded)
        flight = [row for row in recorded if row.status is Status.ASKED and row.cached_from is None]
        assert flight
        for number in [row.number for row in flight]:  # what was under way ends now, in both
            trial = studies[0].ask()
            assert trial is not None and trial.number == number
            for study in studies:
                attempt = study.records[number].attempts
                assert study.tell(dataclasses.replace(trial, attempt=attempt), result(trial))
        for _ in range(20):
            trials = [study.ask() for study in studies]
            assert trials[0] is not None and trials[0] == trials[1]
            assert all(study.tell(trials[0], result(trials[0])) for study in studies)
        told = [[row.tell_seq for row in study.records.values()] for study in studies]
        assert told[0] == told[1]


def result(trial: Trial) -> Outcome:
    return scored(noisy(trial.candidate, trial.seed)["score"])


def opened(controller: str, store: Store) -> Study:
    """The driver's study."""
    made = make_controller(ControllerSettings(name=controller), SPACE, 0)
    objective, settings = ObjectiveSettings(maximize="score"), StudySettings(window=2, backoff=())
    return Study(SPACE, made, objective, store, seed=0, budget=500, settings=settings)


def relived(controller: str, recorded: list[Record]) -> Study:
    """A study that lives through the recorded order of events, by nothing but ask and tell."""
    study, running = opened(controller, Store.open(None)), dict[int, Trial]()
    events = [(row.ask_seq, row.number) for row in recorded]
    events += [(row.tell_seq, ~row.number) for row in recorded if row.tell_seq is not None]
    for _, event in sorted(events):
        if event >= 0 and event not in study.records:  # an answered repeat comes with the next one
            trial = study.ask()
            assert trial is not None
            running[trial.number] = trial
        elif event < 0 and study.records[~event].tell_seq is None:
            assert study.tell(running[~event], result(running[~event]))
    assert story(list(study.records.values())) == story(recorded)
    return study
