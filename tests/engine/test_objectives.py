from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError, RunError
from nas.objectives import ObjectiveSettings, pareto_front
from nas.trial import duration, trial_seed

POINT = st.tuples(st.integers(0, 4), st.integers(0, 4))


def test_limits_say_by_how_much() -> None:
    objective = ObjectiveSettings(limits={"params": 100, "macs": 10})
    assert objective.violations({"params": 150, "macs": 10}) == {"params": pytest.approx(0.5)}
    assert objective.violations({"params": math.nan, "macs": 1}) == {"params": 1.0}
    with pytest.raises(ConfigError, match=r"'macs'; known costs are params"):
        objective.violations({"params": 1})


def test_only_used_metrics_must_be_finite() -> None:
    objective = ObjectiveSettings(maximize="ap", minimize=("latency",))
    assert objective.is_finite({"ap": 0.1, "ap_small": math.nan})
    assert not objective.is_finite({"ap": math.inf})
    assert not objective.is_finite({"ap": 0.1, "latency": math.nan})
    with pytest.raises(RunError, match=r"'ap', but the evaluator reports loss"):
        objective.reward({"loss": 1.0})


@given(st.lists(POINT, max_size=12))
def test_front_is_what_the_definition_says(points: list[tuple[int, int]]) -> None:
    def dominated(p: tuple[int, int]) -> bool:
        return any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points)

    assert pareto_front(points) == [i for i, p in enumerate(points) if not dominated(p)]


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
