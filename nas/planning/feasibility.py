"""Which costs a space's networks reach, and the refusal of limits and targets beyond them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from nas.controllers.evolution import mutated
from nas.errors import ConfigError
from nas.planning.costs import DRAWS
from nas.report.formatting import cost_text
from nas.space import Code, Space
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs

PATIENCE, STEPS = 300, 3000
"""Steps without progress, and in all, after which a walk to an extreme ends."""


class _Bound(NamedTuple):
    """A setting's demand on a cost: to be at most a limit, or to be a target."""

    setting: str
    cost: str
    value: float
    exact: bool

    def reached(self, low: float, high: float) -> bool:
        return low <= self.value and (not self.exact or self.value <= high)


def check_reach(objective: ObjectiveSettings, space: Space, costs: Costs, seed: int) -> list[str]:
    """Refuses a limit or target that no network of the space can meet, as far as can be found out.

    Networks are drawn until all is met. Where 300 draws don't reach a value, a walk goes from the
    nearest of them towards it.

    Args:
        objective: with limits, and perhaps a target.
        space: of the candidates.
        costs: of a candidate; names that they lack are refused elsewhere.
        seed: of the draws.

    Returns:
        A line for each value that no draw reaches, but the walk does.

    Raises:
        ConfigError: with the range that is reached.
    """
    rng = random.Random(seed)
    bounds, drawn = _bounds(objective), list[tuple[Code, dict[str, float]]]()
    while len(drawn) < DRAWS and not all(_is_reached(bound, drawn) for bound in bounds):
        code = space.sample_code(rng)
        drawn.append((code, dict(costs(space.decode(code)))))
    return [
        _walk(bound, drawn, space, costs, rng) for bound in bounds if not _is_reached(bound, drawn)
    ]


def _bounds(objective: ObjectiveSettings) -> list[_Bound]:
    limits = objective.limits.items()
    bounds = [_Bound(f"objective.limits.{name}", name, value, False) for name, value in limits]
    if objective.shape is not None and objective.shape.kind == "absolute":
        shape = objective.shape
        bounds.append(_Bound("objective.shape.target", shape.cost, shape.target, True))
    return bounds


def _is_reached(bound: _Bound, drawn: list[tuple[Code, dict[str, float]]]) -> bool:
    values = [costs[bound.cost] for _, costs in drawn if bound.cost in costs]
    unknown = bool(drawn) and not values  # a metric, which only training tells
    return unknown or (bool(values) and bound.reached(min(values), max(values)))


def _walk(
    bound: _Bound,
    drawn: list[tuple[Code, dict[str, float]]],
    space: Space,
    costs: Costs,
    rng: random.Random,
) -> str:
    """Goes from the nearest draw towards a value, one decision at a time; returns a note.

    Raises:
        ConfigError: it isn't reached.
    """
    values = sorted(of_one[bound.cost] for _, of_one in drawn)
    below = bound.value < values[0]
    nearer: Callable[..., tuple[Code, dict[str, float]]] = min if below else max
    code, of_one = nearer(drawn, key=lambda one: one[1][bound.cost])
    best, still = of_one[bound.cost], 0
    for _ in range(STEPS):
        if still >= PATIENCE or bound.reached(min(best, values[0]), max(best, values[-1])):
            break
        other = mutated(space, code, rng)
        cost = costs(space.decode(other))[bound.cost]
        gains = cost < best if below else cost > best
        still = 0 if gains else still + 1
        if gains or cost == best:
            code, best = other, cost
    if not bound.reached(min(best, values[0]), max(best, values[-1])):
        raise ConfigError(_refusal(bound, values, best, below))
    low, high = (cost_text(bound.cost, value) for value in (values[0], values[-1]))
    return (
        f"{bound.setting}: few networks reach {cost_text(bound.cost, bound.value)}; "
        f"{len(values)} uniform draws have {low} to {high}"
    )


def _refusal(bound: _Bound, values: list[float], best: float, below: bool) -> str:
    low, high, least, demand = (
        cost_text(bound.cost, value) for value in (values[0], values[-1], best, bound.value)
    )
    return (
        f"{bound.setting}: {bound.cost} {'at most ' if not bound.exact else ''}{demand} is out of "
        f"reach: {len(values)} uniform draws of the space have {low} to {high}, and the "
        f"{'least' if below else 'most'} that a walk from there found is {least}; "
        "name a value within, or another space"
    )
