"""Limits, shapes of the reward, and names that nothing reports."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from pydantic import ValidationError

import nas
from nas.errors import ConfigError, RunError
from nas.settings import duration
from nas.space import ChoiceSpace
from nas.study.failures import FailureKind
from nas.study.objective import ObjectiveSettings, RewardShape
from nas.study.result import result_of
from nas.study.store import Store
from nas.study.trial import Outcome, Status, trial_seed
from tests.engine.toys import drive, make_study, scored, total


def test_limits_say_by_how_much() -> None:
    objective = ObjectiveSettings(limits={"params": 100, "macs": 10})
    assert objective.violations({"params": 150, "macs": 10}) == {"params": pytest.approx(0.5)}
    assert objective.violations({"params": math.nan, "macs": 1}) == {"params": 1.0}
    with pytest.raises(ConfigError, match=r"'macs'; known costs are params"):
        objective.violations({"params": 1})


def test_only_used_numbers_must_be_finite() -> None:
    objective = ObjectiveSettings(maximize="ap", minimize=("latency", "macs"))
    assert not objective.not_finite({"ap": 0.1, "ap_small": math.nan, "latency": 3}, {"macs": 1})
    assert objective.not_finite({"ap": math.inf}, {"params": math.nan}) == {"ap": math.inf}
    assert list(objective.not_finite({"ap": 0.1, "latency": math.nan}, {})) == ["latency"]
    assert list(objective.not_finite({"ap": 0.1}, {"macs": math.nan})) == ["macs"]


@pytest.mark.parametrize(
    ("kind", "cost", "reward"),
    [
        # Quality 0.75 and target 84: half of it, all of it, and twice as much.
        ("soft", 42, 0.787287),
        ("soft", 84, 0.75),
        ("soft", 168, 0.714478),
        ("hard", 42, 0.75),
        ("hard", 84, 0.75),
        ("hard", 168, 0.375),
        ("absolute", 42, 0.70),
        ("absolute", 84, 0.75),
        ("absolute", 168, 0.65),
    ],
)
def test_shapes_as_published(kind: Any, cost: float, reward: float) -> None:
    shape = RewardShape(kind=kind, cost="latency_ms", target=84)
    objective = ObjectiveSettings(maximize="ap", shape=shape)
    assert objective.reward({"ap": 0.75}, {"latency_ms": cost}) == pytest.approx(reward, abs=1e-6)
    # A cost that the evaluator measures serves as well.
    assert objective.reward({"ap": 0.75, "latency_ms": cost}, {}) == pytest.approx(reward, abs=1e-6)


@pytest.mark.parametrize("kind", ["soft", "hard", "absolute"])
@pytest.mark.parametrize("weight", [0.1, 0.0, math.nan, -math.inf])
def test_a_weight_that_rewards_cost_is_refused(kind: Any, weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        RewardShape(kind=kind, cost="macs", target=1, weight=weight)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_a_target_is_a_positive_number(target: float) -> None:
    with pytest.raises(ValidationError, match="target"):
        RewardShape(kind="soft", cost="macs", target=target)


def test_a_product_needs_a_quality_and_a_cost_to_multiply() -> None:
    soft = RewardShape(kind="soft", cost="macs", target=4, weight=-0.5)
    assert soft.reward(0.3, 16) == pytest.approx(0.15)
    for quality, cost in ((-0.1, 4), (0.1, 0), (0.1, -4)):
        with pytest.raises(RunError, match=r"'soft' multiplies.*macs.*choose 'absolute'"):
            soft.reward(quality, cost)
        assert math.isfinite(
            RewardShape(kind="absolute", cost="macs", target=4).reward(quality, cost)
        )
    assert RewardShape(kind="hard", cost="macs", target=4).reward(0.1, 0) == 0.1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"objective.maximize is 'ap50', but the evaluator reports score"),
        (
            {"maximize": "score", "minimize": ["latency"]},
            r"objective.minimize names 'latency'; known costs and metrics are score, size",
        ),
        (
            {"maximize": "score", "shape": {"kind": "soft", "cost": "flops", "target": 1}},
            r"objective.shape.cost names 'flops'; known costs and metrics are score, size",
        ),
    ],
)
def test_a_name_that_nothing_reports_ends_the_run_at_the_first_result(
    settings: Any, said: str
) -> None:
    objective = ObjectiveSettings.model_validate(settings)
    study = make_study(objective=objective, costs=lambda candidate: {"size": 1.0})
    trial = study.ask()
    assert trial is not None
    with pytest.raises(RunError, match=said) as caught:
        study.tell(trial, scored(1.0))
    assert "\n" not in str(caught.value)


def test_a_measured_cost_that_is_no_number_is_a_failure_and_says_which() -> None:
    study = make_study(objective=ObjectiveSettings(maximize="score", minimize=("latency",)))
    trial = study.ask()
    assert trial is not None
    study.tell(trial, Outcome(metrics={"score": 1.0, "latency": math.nan}))
    failure = study.records[0].failure
    assert failure is not None
    assert (failure.kind, failure.message) == (FailureKind.NOT_FINITE, "latency is nan")


def test_a_shaped_search_tells_and_ranks_by_the_shaped_reward() -> None:
    shape = RewardShape(kind="absolute", cost="size", target=6, weight=-10)
    objective = ObjectiveSettings(maximize="score", shape=shape)
    assert objective.axes == ("size",) and objective.score_name == "reward"
    study = make_study(
        objective=objective, costs=lambda candidate: {"size": total(candidate, 0)}, budget=60
    )
    drive(study)
    rows = [row for row in study.records.values() if row.status is Status.DONE]
    for row in rows:
        size = row.costs["size"]
        assert row.reward == pytest.approx(size - 10 * abs(size / 6 - 1))
        assert row.metrics["score"] == size
    best = result_of(rows, objective).best
    assert best is not None and best.costs["size"] == 6  # the metric alone would take the largest


STAGES = ChoiceSpace({f"stage{i}": [1, 2, 3, 4, 5, 6, 7, 8] for i in range(6)})


def latency(candidate: dict[str, int]) -> float:
    """From 11 to 53 ms."""
    return 5.0 + sum(candidate.values())


def accuracy(candidate: dict[str, int], seed: int) -> float:
    """Twice the time brings 0.05, as it does among published mobile detectors."""
    return 0.05 * math.log2(latency(candidate)) + random.Random(seed).gauss(0, 0.002)


@pytest.mark.parametrize("controller", ["evolution", "predictor", "reinforce"])
@pytest.mark.parametrize("target", [20.0, 32.0, 44.0])
def test_one_search_lands_on_its_target(controller: str, target: float) -> None:
    objective = ObjectiveSettings(
        maximize="score", shape=RewardShape(cost="latency_ms", target=target)
    )
    found = nas.search(
        STAGES,
        accuracy,
        controller,
        budget=80,
        objective=objective,
        costs=lambda candidate: {"latency_ms": latency(candidate)},
    )
    assert found.best is not None
    assert found.best.costs["latency_ms"] == pytest.approx(target, rel=0.1)


def test_a_soft_target_is_not_landed_on() -> None:
    objective = ObjectiveSettings(
        maximize="score", shape=RewardShape(kind="soft", cost="latency_ms", target=20)
    )
    found = nas.search(
        STAGES,
        accuracy,
        "evolution",
        budget=80,
        objective=objective,
        costs=lambda candidate: {"latency_ms": latency(candidate)},
    )
    assert found.best is not None and found.best.costs["latency_ms"] > 30


def test_a_run_from_before_shapes_goes_on() -> None:
    store = Store.open(None)
    drive(make_study(store), limit=3)
    kept = store.settings["objective"]
    assert kept == {"maximize": "score", "minimize": [], "limits": {}}
    shape = RewardShape(kind="soft", cost="size", target=1)
    with pytest.raises(RunError, match=r"objective\.shape"):
        make_study(store, objective=ObjectiveSettings(maximize="score", shape=shape))
    assert len(make_study(store).records) == 3


def test_seeds_are_the_documented_hash() -> None:
    # printf '0/abc/0' | sha256sum
    assert trial_seed(0, "abc", 0) == int("c58877df", 16)
    assert len({trial_seed(s, k, r) for s in range(3) for k in "abc" for r in range(3)}) == 27


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("1.5h", 5400), ("1d", 86400), (2, 2)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["8", "eight hours", "-1h", "0s", "", -3, math.nan])
def test_other_durations_are_refused(text: str | float) -> None:
    with pytest.raises(ConfigError, match="duration"):
        duration(text)
