"""Limits and targets out of a space's reach: what is refused, and what only looks so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nas.errors import ConfigError
from nas.planning.costs import DRAWS
from nas.planning.feasibility import check_reach
from nas.space import ChoiceSpace
from nas.study.objective import ObjectiveSettings

SPACE = ChoiceSpace({f"stage{i}": [1, 2, 3, 4, 5, 6, 7, 8] for i in range(10)})


class Counted:
    """Costs from 10 to 80 ms, of which draws reach about 30 to 60; remembers how often it ran."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, candidate: Mapping[str, Any]) -> Mapping[str, float]:
        self.calls += 1
        return {"latency_ms": float(sum(candidate.values())), "params": 1e6}


def check(costs: Counted | None = None, **objective: Any) -> list[str]:
    settings = ObjectiveSettings.model_validate(objective)
    return check_reach(settings, SPACE, costs or Counted(), seed=0)


def target(value: float) -> dict[str, Any]:
    return {"cost": "latency_ms", "target": value}


def test_a_limit_that_no_network_meets_is_refused_with_the_range() -> None:
    with pytest.raises(ConfigError) as refused:
        check(limits={"latency_ms": 9.5})
    said = str(refused.value)
    assert "objective.limits.latency_ms: latency_ms at most 9.5 ms is out of reach" in said
    assert "300 uniform draws of the space have 2" in said and "found is 10 ms" in said
    assert "\n" not in said


def test_a_limit_that_few_networks_meet_is_taken_with_a_note() -> None:
    for limit in (10, 11, 20):  # one in 8^10 codes has 10
        (note,) = check(limits={"latency_ms": limit})
        assert f"few networks reach {limit} ms; 300 uniform draws have 2" in note
    assert check(limits={"latency_ms": 45}) == []


@pytest.mark.parametrize(("value", "extreme"), [(9, "least"), (80.5, "most")])
def test_a_target_out_of_reach_is_refused(value: float, extreme: str) -> None:
    with pytest.raises(ConfigError, match=rf"^objective\.shape\.target: .* the {extreme} that"):
        check(shape=target(value))


@pytest.mark.parametrize("value", [10, 12, 45, 78, 80])
def test_a_target_within_reach_is_taken(value: float) -> None:
    check(shape=target(value))


def test_shapes_that_have_no_target_to_land_on_are_taken() -> None:
    check(shape=target(9) | {"kind": "soft"})


def test_no_more_is_drawn_than_needed() -> None:
    costs = Counted()
    check(costs, limits={"latency_ms": 70, "params": 2e6})
    assert costs.calls == 1
    check(costs := Counted())
    assert costs.calls == 0
    with pytest.raises(ConfigError):
        check(costs := Counted(), limits={"latency_ms": 9})
    assert DRAWS < costs.calls < 3500


def test_what_only_training_tells_is_no_matter_of_reach() -> None:
    check(shape={"cost": "seconds", "target": 5}, limits={"flops": 3})
