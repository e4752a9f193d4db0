"""The expected best of n, against counting all draws by hand."""

from __future__ import annotations

import itertools
import statistics

import pytest

from nas.report.arms import expected_best


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_mean_is_that_of_all_draws(trials: int) -> None:
    rewards = [0.1, 0.4, 0.35, 0.4]
    bests = [max(draw) for draw in itertools.product(rewards, repeat=trials)]
    assert expected_best(rewards, trials).mean == pytest.approx(statistics.fmean(bests))


def test_interval_holds_the_mean_and_closes_on_equal_rewards() -> None:
    best = expected_best([0.1, 0.2, 0.5, 0.3, 0.25], 3)
    assert best.low <= best.mean <= best.high and best.low < best.high
    assert expected_best([0.1, 0.2, 0.5, 0.3, 0.25], 3) == best
    equal = expected_best([0.3] * 4, 4)
    assert (equal.low, equal.mean, equal.high) == pytest.approx((0.3, 0.3, 0.3))


def test_nothing_to_expect_of_nothing() -> None:
    with pytest.raises(ValueError, match="no rewards"):
        expected_best([], 3)
