"""Intervals against closed forms, tables of the distribution, and sums worked by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from nas.report.arms import ExpectedBest
from nas.report.intervals import (
    Interval,
    difference,
    mean_interval,
    t_quantile,
    welch_interval,
)

TABLE = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % for 1 to 9 degrees of freedom, as printed in textbooks."""


def test_student_as_in_the_table() -> None:
    assert [round(t_quantile(0.975, nu), 3) for nu in range(1, 10)] == list(TABLE)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.975, 0.999])
def test_student_where_it_has_a_closed_form(p: float) -> None:
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    assert t_quantile(p, 2) == pytest.approx(two, rel=1e-9)
    normal = statistics.NormalDist().inv_cdf(p)
    assert t_quantile(p, 1e6) == pytest.approx(normal, rel=1e-4)


@pytest.mark.parametrize("nu", [1.3, 3.53, 7.5, 40.25])
def test_student_between_whole_degrees(nu: float) -> None:
    t = np.linspace(0, t_quantile(0.975, nu), 200_001)
    scale = math.gamma((nu + 1) / 2) / (math.sqrt(nu * math.pi) * math.gamma(nu / 2))
    density = scale * (1 + t**2 / nu) ** (-(nu + 1) / 2)
    area = float(np.diff(t) @ (density[1:] + density[:-1])) / 2
    assert area == pytest.approx(0.475, abs=1e-8)


@pytest.mark.parametrize(("p", "nu"), [(0.4, 3), (1.0, 3), (0.975, 0.5), (0.9, math.nan)])
def test_student_out_of_range(p: float, nu: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        t_quantile(p, nu)


def test_mean_by_hand() -> None:
    found = mean_interval([1.0, 2.0, 3.0])  # ± 4.302653 / √3
    assert found == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-5)
    assert not found.distinguishable
    assert mean_interval([0.1] * 4) == pytest.approx((0.1, 0.1, 0.1))


def test_welch_by_hand() -> None:
    # Equal variances 1 and sizes 3: four degrees of freedom, ± 2.776445 √(2/3).
    found = welch_interval([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert found == pytest.approx((-3, -5.266958, -0.733042), abs=1e-5)
    assert found.distinguishable
    # Without a spread on one side, the degrees are those of the other: as its own mean.
    one = welch_interval([1.0, 2.0, 3.0], [0.0, 0.0])
    assert one == pytest.approx(mean_interval([1.0, 2.0, 3.0]))
    assert welch_interval([2.0, 2.0], [1.5, 1.5]) == Interval(0.5, 0.5, 0.5)


def test_one_value_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two"):
        mean_interval([0.3])
    with pytest.raises(ValueError, match="at least two"):
        welch_interval([0.3, 0.4], [0.2])


def test_difference_of_lopsided_estimates_by_hand() -> None:
    first, second = ExpectedBest(3, 2, 6, 5), ExpectedBest(1, 0, 3, 5)
    low, high = 2 - math.sqrt(1 + 4), 2 + math.sqrt(9 + 1)
    assert difference(first, second) == pytest.approx((2, low, high))
    assert difference(second, first) == pytest.approx((-2, -high, -low))
