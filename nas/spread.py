"""Rewards that spread a search along the Pareto front, instead of leading it to one best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.pareto import pareto_front


class Spread:
    """Rewards a candidate by what it adds to the front of those told before it.

    The reward is the additive ε-indicator of that front against the candidate (Zitzler et al.,
    IEEE TEC 7 (2003), 117-132), in shares of the range told so far on each axis: by how much all of
    the front would have to improve to be nowhere worse than it. A candidate far from its
    neighbours on the front is worth most, one that is on it already 0, and a dominated one less.
    Front and ranges follow from earlier events, so that a replay has the same.

    The usual way, a weighted sum or Tchebycheff function with weights drawn for each proposal
    (ParEGO: Knowles, IEEE TEC 10 (2006), 50-66), needs an algorithm that scores all its past again
    under the new weights. To a controller that hears one number a trial such weights are noise
    around one mean reward, whose single best compromise it would seek. This reward ages too: told
    before the front grew, it flatters. An algorithm that forgets old rewards suits it best, such as
    evolution with its short lives.
    """

    def __init__(self, axes: int) -> None:
        """Begins without a front.

        Args:
            axes: how many numbers a point has.
        """
        self._front: list[tuple[float, ...]] = []
        self._ranges = [(math.inf, -math.inf)] * axes

    def reward(self, point: Sequence[float]) -> float:
        """Returns what a candidate adds, from -1 to 1; 0 for the first.

        Args:
            point: (metric, -cost, ...), more is better on each axis.
        """
        spans = [high - low or 1.0 for low, high in self._with(point)]
        leads = (
            max((own - other) / span for own, other, span in zip(point, rival, spans, strict=True))
            for rival in self._front
        )
        return min(leads, default=0.0)

    def absorb(self, point: Sequence[float]) -> None:
        """Absorbs that a candidate was told."""
        self._ranges = self._with(point)
        points = [*self._front, tuple(point)]
        self._front = [points[index] for index in pareto_front(points)]

    def _with(self, point: Sequence[float]) -> list[tuple[float, float]]:
        ranges = zip(self._ranges, point, strict=True)
        return [(min(low, value), max(high, value)) for (low, high), value in ranges]
