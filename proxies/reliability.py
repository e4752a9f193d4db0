"""How far a proxy can be trusted: its spread over architectures against its spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The two components of a metric's variance, from a balanced one-way layout.

    Attributes:
        mean: over everything.
        architectures: standard deviation of what architectures really differ by, seeds' share
            taken out (0 where the estimate is negative).
        seeds: standard deviation of one architecture over seeds.
    """

    mean: float
    architectures: float
    seeds: float

    @property
    def reliability(self) -> float:
        """Share of a single trial's variance that is due to the architecture."""
        total = self.architectures**2 + self.seeds**2
        return self.architectures**2 / total if total else 0.0


def spread(scores: Mapping[str, Sequence[float]]) -> Spread:
    """Splits a metric's variance into architectures and seeds.

    Args:
        scores: for each architecture the metric with different seeds, as many for each; at least
            two architectures and two seeds.

    Raises:
        ValueError: the layout is not balanced, or too small.
    """
    counts = {len(values) for values in scores.values()}
    if len(scores) < 2 or len(counts) != 1 or min(counts) < 2:
        raise ValueError("give two or more architectures, each with the same two or more seeds")
    repeats = counts.pop()
    within = statistics.fmean(statistics.variance(values) for values in scores.values())
    between = statistics.variance([statistics.fmean(values) for values in scores.values()])
    return Spread(
        mean=statistics.fmean(value for values in scores.values() for value in values),
        architectures=math.sqrt(max(0.0, between - within / repeats)),
        seeds=math.sqrt(within),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns how far two scores of the same candidates agree on their order, from -1 to 1.

    This is τ-b (Kendall 1945), in which ties count for neither side; not a number where one of the
    scores has ties only.

    Args:
        first: One score for each candidate.
        second: The other scores, in the same order.

    Raises:
        ValueError: they aren't equally many.
    """
    from scipy.stats import kendalltau  # slow to load, and searches don't need it

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} scores: give one of each a candidate")
    return float(kendalltau(first, second, variant="b").statistic)
