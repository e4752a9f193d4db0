"""Rewards for what a candidate adds to the front: by hand, in pieces, and to what effect."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.space import ChoiceSpace
from nas.study.objective import ObjectiveSettings, RewardShape
from nas.study.pareto import FrontReward, hypervolume_over_time, pareto_front
from nas.study.result import result_of
from nas.study.settings import ControlSettings, FinalistSettings
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome, Record, Status
from tests.engine.toys import codes, make_study

SPACE = ChoiceSpace({f"l{i}": list(range(6)) for i in range(8)})
OBJECTIVE = ObjectiveSettings(maximize="score", minimize=("size",), spread=True)
POINT = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))


def quality(candidate: dict[str, int]) -> float:
    """What costs least brings most, and the first step more than the next."""
    return sum((i + 1) * value**0.5 for i, value in enumerate(candidate.values()))


def size(candidate: dict[str, int]) -> dict[str, float]:
    return {"size": float(sum((8 - i) * value for i, value in enumerate(candidate.values())))}


def spreading(store: Store | None = None, **options: Any) -> Study:
    options = {"objective": OBJECTIVE, "costs": size, "space": SPACE, "budget": 60} | options
    return make_study(store, "evolution", **options)


def drive(study: Study, limit: int = 10_000) -> None:
    for _ in range(limit):
        trial = study.ask()
        if trial is None:
            return
        study.tell(trial, Outcome(metrics={"score": quality(trial.candidate)}))


def done(study: Study) -> list[Record]:
    return [row for row in study.records.values() if row.status is Status.DONE]


def test_rewards_by_hand() -> None:
    spread = FrontReward(2)
    assert spread.reward((0.5, -30.0)) == 0
    for point in ((0.5, -30.0), (0.1, -10.0)):
        spread.absorb(point)
    # Ranges 0.4 and 20. Between the two: ahead of the one by 0.4 of the size, of the other by 0.5.
    assert spread.reward((0.3, -22.0)) == pytest.approx(0.4)
    # Dominated by the second: 0.1 of a range that is 0.5 with it, less than 5 of 20.
    assert spread.reward((0.0, -15.0)) == pytest.approx(-0.2)
    assert spread.reward((0.1, -10.0)) == 0
    # Beyond one end: all of the lead over the nearest, in the range that it makes.
    assert spread.reward((0.9, -30.0)) == pytest.approx(0.5)


@given(st.lists(POINT, min_size=1, max_size=10), POINT)
def test_the_sign_says_whether_the_front_grows(
    told: list[tuple[int, int, int]], point: tuple[int, int, int]
) -> None:
    spread = FrontReward(3)
    for earlier in told:
        spread.absorb(earlier)
    reward = spread.reward(point)
    assert -1 <= reward <= 1
    is_new = len(told) in pareto_front([*told, point]) and point not in told
    assert (reward > 0) == is_new
    # The definition: with that much more on each axis, the front is nowhere worse; with less not.
    spans = [max(values) - min(values) or 1 for values in zip(*told, point, strict=True)]
    for more, covers in ((reward + 1e-9, True), (reward - 1e-9, False)):
        raised = [[v + more * s for v, s in zip(p, spans, strict=True)] for p in told]
        assert covers == any(all(r >= p for r, p in zip(q, point, strict=True)) for q in raised)


def test_it_needs_costs_and_no_shape() -> None:
    with pytest.raises(ValidationError, match="name one in minimize"):
        ObjectiveSettings(spread=True)
    shape = RewardShape(kind="soft", cost="macs", target=1)
    with pytest.raises(ValidationError, match="set one of them"):
        ObjectiveSettings(spread=True, minimize=("macs",), shape=shape)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_told_rewards_are_kept_and_a_run_in_pieces_equals_a_whole_one(share: float) -> None:
    options: dict[str, Any] = {"control": ControlSettings(share=share)}
    whole, store = spreading(**options), Store.open(None)
    drive(whole)
    for limit in (7, 20, 10_000):
        drive(spreading(store, **options), limit)
    second = spreading(store, **options)
    assert codes(second) == codes(whole)
    assert [row.reward for row in done(second)] == [row.reward for row in done(whole)]
    spread = FrontReward(2)
    for row in done(whole):
        point = row.metrics["score"], -row.costs["size"]
        if share == 0.5 and row.arm == "control":  # an arm of its own, which nobody listens to
            assert row.reward == point[0]
            continue
        assert row.reward == spread.reward(point)
        spread.absorb(point)


def test_the_best_is_the_best_by_the_metric() -> None:
    study = spreading()
    drive(study)
    top = max(row.metrics["score"] for row in done(study))
    best = result_of(study.records.values(), OBJECTIVE).best_observed
    assert best is not None and best.metrics["score"] == top
    assert best.reward != max(row.reward or -9 for row in done(study))
    study.start_finalists(FinalistSettings(count=1, repeats=2))
    drive(study)
    result = result_of(study.records.values(), OBJECTIVE)
    assert result.finalists[0].rewards == (top, top)
    assert result.best_of("controller") is not None


def test_a_search_covers_more_of_the_front() -> None:
    single = ObjectiveSettings(maximize="score", minimize=("size",))
    means = []
    for objective in (single, OBJECTIVE):
        volumes = []
        for seed in range(4):
            study = spreading(objective=objective, budget=240, seed=seed)
            drive(study)
            rows = study.records.values()
            volumes.append(hypervolume_over_time(rows, single, (0.0, -180.0))[-1])
        means.append(statistics.fmean(volumes))
    assert means[1] > means[0]
