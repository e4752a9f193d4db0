"""Intervals of means and of differences, from few numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

from nas.report.arms import ExpectedBest


class Interval(NamedTuple):
    """An estimate between the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean of independent values by Student's t; of pairs, give the differences.

    Raises:
        ValueError: There are fewer than two.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values: a spread takes at least two")
    error = statistics.stdev(values) / math.sqrt(len(values))
    return _around(statistics.fmean(values), error, len(values) - 1)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Returns the mean of `first` minus that of `second`, of values that don't pair.

    The spreads may differ (Welch 1947, Biometrika 34:28).

    Raises:
        ValueError: One of them has fewer than two.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} values: a spread takes at least two")
    shares = [statistics.variance(values) / len(values) for values in (first, second)]
    value, total = statistics.fmean(first) - statistics.fmean(second), sum(shares)
    if not total:
        return Interval(value, value, value)
    rest = sum(s**2 / (len(v) - 1) for s, v in zip(shares, (first, second), strict=True))
    fewest = min(len(first), len(second)) - 1  # which rounding may undercut
    return _around(value, math.sqrt(total), max(fewest, total**2 / rest))


def difference(first: ExpectedBest, second: ExpectedBest) -> Interval:
    """Returns the difference of two independent estimates, from the interval of each.

    Its ends are Zou and Donner's (2008, Statistics in Medicine 27:1693), which let an interval
    be longer on one side: that of a maximum is.
    """
    value = first.mean - second.mean
    return Interval(
        value,
        value - math.hypot(first.mean - first.low, second.high - second.mean),
        value + math.hypot(first.high - first.mean, second.mean - second.low),
    )


def t_quantile(probability: float, freedom: float) -> float:
    """Returns the quantile of Student's t: below it t lies with `probability`.

    Args:
        probability: From 0.5 to below 1.
        freedom: Degrees of freedom, at least 1; Welch's needn't be whole.

    Raises:
        ValueError: One of them is out of range.
    """
    if not (0.5 <= probability < 1 <= freedom < math.inf):
        raise ValueError(f"probability {probability}, {freedom} degrees of freedom: out of range")
    return float(stdtrit(freedom, probability))


def _around(value: float, error: float, freedom: float) -> Interval:
    reach = t_quantile(0.975, freedom) * error
    return Interval(value, value - reach, value + reach)
