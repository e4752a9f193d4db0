"""Asynchronous successive halving: who is stopped, what is told, and that replay agrees."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from nas.controllers import ControllerSettings, make_controller
from nas.controllers.base import Stop
from nas.controllers.evolution import Evolution, EvolutionSettings
from nas.controllers.predictor.observations import Observation, extrapolated
from nas.errors import ConfigError, RunError
from nas.executors import ComputeSettings, make_executor
from nas.searching import search
from nas.study.failures import FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.settings import FinalistSettings, StudySettings
from nas.study.stopping import StoppingSettings, make_stopper, rank_among
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome, Status, Trial
from tests.engine.toys import CONTROLLERS, SPACES, codes, make_study, rungs, total

HALVING = StoppingSettings(rungs=(1, 2), eta=3)
STOPPED = StudySettings(stopping=HALVING)


@pytest.mark.parametrize(
    ("reward", "others", "goes_on"),
    [
        (0.0, [], True),
        (0.0, [9.0], True),  # two of three: nobody is stopped yet
        (5.0, [1.0, 2.0], True),
        (1.5, [1.0, 2.0], False),
        (2.0, [1.0, 2.0], True),  # a tie with the best
        (3.0, [1.0, 2.0, 4.0], True),  # two of four go on
        (2.0, [1.0, 3.0, 4.0], False),
    ],
)
def test_one_in_eta_goes_on(reward: float, others: list[float], goes_on: bool) -> None:
    assert make_stopper(HALVING).goes_on(reward, others) is goes_on


def test_a_rank_counts_ties_half() -> None:
    assert rank_among(2.0, [1.0, 3.0]) == pytest.approx(0.5)
    assert rank_among(2.0, [2.0, 2.0]) == pytest.approx(0.5)
    assert rank_among(9.0, [1.0, 2.0, 3.0]) == pytest.approx(3.5 / 4)


def test_rungs_must_rise() -> None:
    with pytest.raises(ValueError, match="must rise"):
        StoppingSettings(rungs=(3, 1))


def curve_of(trial: Trial) -> list[float]:
    """Three reports that rise with the candidate's worth."""
    return [float(report * sum(trial.code)) for report in (1, 2, 3)]


def run(study: Study, trial: Trial) -> tuple[dict[str, float], ...]:
    """One trial from its first report to what is told; returns its curve."""
    curve: list[dict[str, float]] = []
    stopped = False
    for value in curve_of(trial):
        curve.append({"score": value})
        stopped = not study.report(trial, curve[-1])
        if stopped:
            break
    study.tell(trial, Outcome(metrics=curve[-1], curve=tuple(curve), stopped=stopped))
    return tuple(curve)


def drive(study: Study, limit: int = 10_000, shuffle: int | None = None) -> None:
    rng, flight = random.Random(shuffle), list[Trial]()
    asked = 0
    while True:
        while len(flight) < (1 if shuffle is None else 4) and asked < limit:
            trial = study.ask()
            if trial is None:
                break
            asked += 1
            flight.append(trial)
        if not flight:
            return
        run(study, flight.pop(rng.randrange(len(flight))))


def test_who_falls_behind_is_stopped_and_the_best_never_is() -> None:
    study = make_study(budget=60, stopping=HALVING)
    drive(study)
    rows = list(study.records.values())
    full = [row for row in rows if row.status is Status.DONE]
    stopped = [row for row in rows if row.status is Status.STOPPED]
    assert len(full) + len(stopped) == study.completed == 60
    assert all(len(row.curve) == 3 for row in full)
    assert {len(row.curve) for row in stopped} == {1, 2}
    # At one in three, about one in nine comes to the end, and more of the early ones.
    assert 60 / 9 <= len(full) <= 30
    # At a rung a trial is only stopped by better ones, so the best of all comes to the end.
    assert max(rows, key=lambda row: sum(row.code)).status is Status.DONE


def test_a_stop_is_in_the_store_and_answers_a_repeat() -> None:
    study = make_study(controller="ppo", space=SPACES["one decision"](), budget=8, stopping=HALVING)
    drive(study)
    repeats = [row for row in study.records.values() if row.cached_from is not None]
    shared = [row for row in repeats if row.status is Status.STOPPED]
    assert shared and all(row.curve and not row.charged for row in shared)


def test_finalists_are_never_stopped() -> None:
    study = make_study(budget=20, stopping=HALVING)
    drive(study)
    study.start_finalists(FinalistSettings(count=3, repeats=2))
    drive(study)
    finalists = [row for row in study.records.values() if row.phase == "finalist"]
    assert finalists and all(len(row.curve) == 3 for row in finalists)


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("shuffle", [None, 1])
def test_a_recorded_run_goes_on_alike(name: str, shuffle: int | None) -> None:
    store = Store.open(None)
    study = make_study(store, name, budget=50, stopping=HALVING)
    drive(study, limit=31, shuffle=shuffle)
    again = make_study(store, name, budget=50, stopping=HALVING)
    drive(study)
    rest = codes(study)
    drive(again)
    assert codes(again) == rest
    assert [r.status for r in again.records.values()] == [r.status for r in study.records.values()]


def test_delivery_by_proposal_doesn_t_depend_on_timing() -> None:
    settings = StudySettings(delivery="proposal", window=4)
    runs = []
    for shuffle in (1, 2, 3):
        study = make_study(controller="evolution", budget=40, stopping=HALVING, settings=settings)
        drive(study, shuffle=shuffle)
        runs.append([(r.code, r.status, r.curve) for r in study.records.values()])
    assert runs[0] == runs[1] == runs[2]
    assert any(status is Status.STOPPED for _, status, _ in runs[0])


def test_evolution_ranks_a_stopped_trial_below_all_that_passed_its_rung() -> None:
    space = SPACES["product"]()
    # Everyone competes, so that the parent is the best of all.
    evolution = Evolution(space, 0, EvolutionSettings(population=3, sample=3))
    short, longer, full = (0,) * 6, (1,) * 6, (2,) * 6
    evolution.stop(None, Stop(short, (9.0,), 0.1))
    evolution.stop(None, Stop(longer, (5.0, 8.0), 0.1))
    evolution.observe(full, 3.0)
    for number in range(10):
        child = evolution.propose(number)
        assert sum(a != b for a, b in zip(child, full, strict=True)) == 1


def test_the_policy_gradients_hear_the_rank() -> None:
    space = SPACES["one decision"]()
    for name, options in (("reinforce", {"delay": 0.0}), ("ppo", {"batch": 1})):
        chances = []
        for rank in (0.05, 0.6):
            controller = make_controller(ControllerSettings(name=name, options=options), space, 0)
            for number in range(20):
                controller.asked(number, (3,))
                controller.stop(number, Stop((3,), (0.1,), rank))
            chances.append(sum(controller.propose(n) == (3,) for n in range(100, 200)))
        assert chances[0] < 5 < chances[1], name


def test_the_predictor_extends_stopped_curves_along_a_line() -> None:
    full = [Observation((i,), 2.0 * i + 1.0, (float(i), 2.0 * i + 1.0)) for i in range(1, 6)]
    rows = extrapolated([*full, Observation((9,), None, (4.5,)), Observation((8,), None)])
    assert [row.reward for row in rows[:5]] == [3.0, 5.0, 7.0, 9.0, 11.0]
    assert rows[5].reward == pytest.approx(10.0) and rows[5].error == pytest.approx(0.0, abs=1e-6)
    assert rows[6].reward is None  # can't be had, and isn't taken for a short curve
    lone = extrapolated([Observation((0,), 4.0, (1.0, 4.0)), Observation((1,), None, (2.0,))])
    assert lone[1].reward == 4.0  # one trial makes no line


class Steps:
    """Counts what it trains: each report costs one step."""

    def __init__(self) -> None:
        self.steps = self.closed = 0

    def __call__(self, candidate: dict[str, int], seed: int) -> Iterator[dict[str, float]]:
        try:
            for report in (1, 2, 3):
                self.steps += 1
                yield {"score": report * total(candidate, seed)}
        finally:
            self.closed += 1


def test_a_stopped_evaluator_trains_no_further_and_is_closed() -> None:
    evaluator = Steps()
    found = search(SPACES["product"](), evaluator, "random", budget=40, settings=STOPPED)
    assert evaluator.steps == sum(len(row.curve) for row in found.trials) < 40 * 3 * 0.75
    assert evaluator.closed == 40
    assert found.best is not None and found.best.status is Status.DONE


def test_workers_are_stopped_between_reports() -> None:
    def found(executor: Any) -> list[tuple[Any, ...]]:
        compute = ComputeSettings(executor=executor, workers=1)
        study = make_study(controller="evolution", budget=24, stopping=HALVING)
        with make_executor(compute) as runner:
            runner.run(study, rungs)
        return [(row.code, row.status, row.curve) for row in study.records.values()]

    inline, ray = found("inline"), found("ray")
    assert inline == ray
    assert any(status is Status.STOPPED for _, status, _ in ray)


def test_what_can_t_be_stopped_is_refused() -> None:
    with pytest.raises(RunError, match="let it yield"):
        search(SPACES["product"](), total, "random", budget=5, settings=STOPPED)
    spread = ObjectiveSettings(maximize="score", minimize=("size",), spread=True)
    with pytest.raises(ConfigError, match=r"objective\.spread"):
        make_study(objective=spread, stopping=HALVING)


def test_a_report_that_isn_t_finite_fails_its_trial_and_shifts_no_rung() -> None:
    study = make_study(budget=12, stopping=HALVING)
    for _ in range(5):
        trial = study.ask()
        assert trial is not None
        run(study, trial)
    trial = study.ask()
    assert trial is not None
    curve = tuple({"score": value} for value in (math.nan, 99.0, 99.0))
    assert all(study.report(trial, report) for report in curve)
    study.tell(trial, Outcome(metrics=curve[-1], curve=curve))
    failure = study.records[trial.number].failure
    assert failure is not None and failure.kind is FailureKind.NOT_FINITE
