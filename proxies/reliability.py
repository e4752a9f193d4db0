"""Reliability of a proxy: its spread over architectures against its spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The two components of a metric's variance, from a balanced one-way layout.

    Attributes:
        mean: Over all scores.
        architectures: Standard deviation between architectures, without the seeds' share in the
            variance of their means (0 where the estimate is negative).
        seeds: Standard deviation of one architecture over seeds.
    """

    mean: float
    architectures: float
    seeds: float

    @property
    def reliability(self) -> float:
        """The share of a single trial's variance that is due to the architecture."""
        total = self.architectures**2 + self.seeds**2
        return self.architectures**2 / total if total else 0.0


def spread(scores: Mapping[str, Sequence[float]]) -> Spread:
    """Splits a metric's variance into architectures and seeds.

    Args:
        scores: The metric of each architecture with different seeds, as many for each; at least
            two architectures and two seeds.

    Raises:
        ValueError: if the layout isn't balanced, or too small.
    """
    counts = {len(values) for values in scores.values()}
    if len(scores) < 2 or len(counts) != 1 or min(counts) < 2:
        raise ValueError("give two or more architectures, each with the same two or more seeds")
    repeats = counts.pop()
    within = statistics.fmean(statistics.variance(values) for values in scores.values())
    between = statistics.variance([statistics.fmean(values) for values in scores.values()])
    # Mean squares of a one-way analysis of variance: E[between] = architectures² + seeds²/repeats.
    return Spread(
        mean=statistics.fmean(value for values in scores.values() for value in values),
        architectures=math.sqrt(max(0.0, between - within / repeats)),
        seeds=math.sqrt(within),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns how far two scores of the same candidates agree on their order, from -1 to 1.

    This is τ-b (Kendall 1945), in which ties count for neither side; it is NaN if all of one side's
    scores are equal.

    Args:
        first: One score for each candidate.
        second: The other scores, in the same order.

    Raises:
        ValueError: if there aren't as many of both.
    """
    from scipy.stats import kendalltau  # slow to load, and searches don't need it

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} scores: give one of each a candidate")
    return float(kendalltau(first, second, variant="b").statistic)
