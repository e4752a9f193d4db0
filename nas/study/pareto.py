"""The Pareto front of a run's rows, and the hypervolume under it. More is better on each axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.study.objective import ObjectiveSettings
from nas.study.trial import Record


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices of points that no other dominates.

    A point dominates another if it is nowhere worse and somewhere better; equal points all stay.

    Args:
        points: (N, D) numbers.
    """
    if not points:
        return []
    values: NDArray[np.float64] = np.asarray(points, dtype=float)
    # Lexical order, the best of the first axis first, the second axis deciding between equals, ...:
    # a point that dominates another stands before it, so the first of those left is on the front.
    left = np.lexsort(-values.T[::-1])
    front: list[int] = []
    while len(left):
        first, rest = values[left[0]], values[left]
        # It dominates, or equals, whatever is nowhere better than it.
        worse = (rest <= first).all(axis=1)
        equal = worse & (rest == first).all(axis=1)
        equal[0] = True  # even with a NaN, which equals nothing
        front.extend(left[equal].tolist())
        # One front point less and all that it dominates: as many rounds as the front has points.
        left = left[~(worse | equal)]
    return sorted(front)


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Returns the exact volume of all that is worse than a point and better than the reference.

    By slicing one objective after the other (While et al., IEEE TEC 10 (2006), 29-38): for N
    points and D axes, time grows with N^(D-1).

    Args:
        points: (N, D) numbers; those that aren't better than the reference on each axis add none.
        reference: (D,) numbers.
    """
    gains = np.asarray(points, dtype=float).reshape(len(points), len(reference)) - reference
    return _volume(gains[(gains > 0).all(axis=1)])


def _volume(gains: NDArray[np.float64]) -> float:
    """Returns the volume between the origin and (N, D) points above it."""
    if not len(gains):
        return 0.0
    if gains.shape[1] == 1:
        return float(gains.max())
    # Slices across the last axis, the highest point first: from point n's height down to that of
    # point n + 1, the cross-section is what the first n points cover on the other axes.
    gains = gains[np.argsort(-gains[:, -1])]
    depths = gains[:, -1] - np.append(gains[1:, -1], 0.0)
    if gains.shape[1] == 2:
        # In two dimensions that is the running maximum of the other axis.
        return float(np.maximum.accumulate(gains[:, 0]) @ depths)
    slices = (_volume(gains[: n + 1, :-1]) * depth for n, depth in enumerate(depths) if depth > 0)
    return float(sum(slices))


def reference_point(records: Iterable[Record], objective: ObjectiveSettings) -> tuple[float, ...]:
    """Returns what a run's hypervolume is measured from, as (metric, -cost, ...).

    For the metric that is 0, or the worst score if that is lower; for a cost its limit, or without
    one the highest cost of a scored row, so that runs compare only if they are given one reference.
    """
    points = [objective.point(row) for row in records if row.phase == "search" and row.is_scored]
    finite = [point for point in points if all(map(math.isfinite, point))]
    worst = [min(values) for values in zip(*finite, strict=True)] or [0.0] * (
        1 + len(objective.axes)
    )
    costs = [-objective.limits.get(n, -w) for n, w in zip(objective.axes, worst[1:], strict=True)]
    return (min(0.0, worst[0]), *costs)


def hypervolume_over_time(
    records: Iterable[Record],
    objective: ObjectiveSettings,
    reference: Sequence[float] | None = None,
) -> list[float]:
    """Returns the hypervolume after each trial that cost budget, in the order of their results.

    Args:
        records: a run's rows.
        objective: gives the axes.
        reference: as (metric, -cost, ...); `reference_point` of these rows if None.
    """
    rows = [row for row in records if row.phase == "search" and row.tell_seq is not None]
    reference = reference_point(rows, objective) if reference is None else reference
    front: list[tuple[float, ...]] = []
    course, volume = [], 0.0
    for row in sorted(rows, key=lambda row: row.tell_seq or 0):
        if row.is_scored:
            # The front of a front with one more point is that of all points so far.
            points = [*front, objective.point(row)]
            kept = pareto_front(points)
            if len(front) in kept:  # the new one is not dominated
                front = [points[index] for index in kept]
                volume = hypervolume(front, reference)
        if row.charged:
            course.append(volume)
    return course


class FrontReward:
    """Rewards a candidate by what it adds to the front of those delivered before it.

    The reward is the additive ε-indicator of that front against the candidate (Zitzler et al.,
    IEEE TEC 7 (2003), 117-132), in shares of the range so far on each axis: by how much all of
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
        spans = [high - low or 1.0 for low, high in self._ranges_with(point)]
        # I(F, x) = min over f in F of the largest lead of x over f on an axis.
        leads = (
            max((own - other) / span for own, other, span in zip(point, rival, spans, strict=True))
            for rival in self._front
        )
        return min(leads, default=0.0)

    def absorb(self, point: Sequence[float]) -> None:
        """Absorbs that a candidate's result was delivered."""
        self._ranges = self._ranges_with(point)
        points = [*self._front, tuple(point)]
        self._front = [points[index] for index in pareto_front(points)]

    def _ranges_with(self, point: Sequence[float]) -> list[tuple[float, float]]:
        """Returns the range of each axis, this point with it."""
        ranges = zip(self._ranges, point, strict=True)
        return [(min(low, value), max(high, value)) for (low, high), value in ranges]
