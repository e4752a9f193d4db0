"""From metrics to one reward, from costs to limits, and the Pareto front of results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat

from nas.errors import ConfigError, RunError
from nas.settings import Settings
from nas.trial import Metrics, Record


class ObjectiveSettings(Settings):
    """What to search for.

    Attributes:
        maximize: the metric that is the reward.
        minimize: metrics or costs that span the Pareto front beside it; the limits' names if empty.
        limits: upper limits on costs of the candidate as deployed (params, macs, ...), checked
            before any training.
    """

    maximize: str = "ap50"
    minimize: tuple[str, ...] = ()
    limits: dict[str, PositiveFloat] = Field(default_factory=dict)

    @property
    def axes(self) -> tuple[str, ...]:
        """The names that the Pareto front minimises."""
        return self.minimize or tuple(self.limits)

    def reward(self, metrics: Metrics) -> float:
        """Returns the metric to maximise, which may be not finite.

        Raises:
            RunError: if the evaluator doesn't report it.
        """
        if self.maximize not in metrics:
            raise RunError(
                f"objective.maximize is {self.maximize!r}, but the evaluator reports "
                f"{', '.join(sorted(metrics)) or 'nothing'}; name one of these"
            )
        return float(metrics[self.maximize])

    def is_finite(self, metrics: Metrics) -> bool:
        """Tells whether every metric that the objective uses is finite.

        Others may be not a number: COCO's AP of small boxes is, where there are none.
        """
        used = (self.maximize, *(name for name in self.axes if name in metrics))
        return all(math.isfinite(metrics[name]) for name in used)

    def violations(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Returns, for each limit that is exceeded, by which share of it (0.1 is 10 % over).

        Raises:
            ConfigError: if a limit names a cost that isn't computed.
        """
        over: dict[str, float] = {}
        for name, limit in self.limits.items():
            if name not in costs:
                raise ConfigError(
                    f"objective.limits names {name!r}; known costs are "
                    f"{', '.join(sorted(costs)) or 'none'}"
                )
            if not costs[name] <= limit:  # a cost that is not a number exceeds every limit
                excess = costs[name] / limit - 1.0
                over[name] = excess if math.isfinite(excess) else 1.0
        return over

    def point(self, record: Record) -> tuple[float, ...]:
        """Returns (reward, -cost, ...): the row's place, where more is better on each axis."""
        known = {**record.costs, **record.metrics}
        return (self.reward(record.metrics), *(-known.get(name, math.inf) for name in self.axes))


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices of points that no other dominates, where more is better.

    A point dominates another if it is nowhere worse and somewhere better; equal points all stay.

    Args:
        points: (N, D) numbers.
    """
    if not points:
        return []
    values: Any = np.asarray(points, dtype=float)
    front = []
    for index, value in enumerate(values):
        dominates = (values >= value).all(axis=1) & (values > value).any(axis=1)
        if not dominates.any():
            front.append(index)
    return front
