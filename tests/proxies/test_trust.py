"""Variance components against a hand-worked table and a known mixture."""

import math
import random

import pytest

from proxies.reliability import kendall_tau, spread


def test_a_hand_worked_table() -> None:
    # Means 2 and 6, each ±1: between = 8, within = 2, so 8 − 2/2 = 7.
    found = spread({"a": [1.0, 3.0], "b": [5.0, 7.0]})
    assert found.mean == pytest.approx(4.0)
    assert found.seeds == pytest.approx(2**0.5)
    assert found.architectures == pytest.approx(7**0.5)
    assert found.reliability == pytest.approx(7 / 9)


def test_a_known_mixture_is_found_again() -> None:
    rng = random.Random(0)
    scores = {}
    for number in range(400):
        level = rng.gauss(0, 3)
        scores[str(number)] = [level + rng.gauss(0, 1) for _ in range(3)]
    found = spread(scores)
    assert found.architectures == pytest.approx(3, rel=0.1)
    assert found.seeds == pytest.approx(1, rel=0.1)


def test_architectures_that_do_not_differ_have_no_spread() -> None:
    assert spread({"a": [0.0, 1.0], "b": [1.0, 0.0]}).architectures == 0


@pytest.mark.parametrize("scores", [{"a": [1.0, 2.0]}, {"a": [1.0], "b": [2.0]}, {}])
def test_too_little_is_refused(scores: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="two or more"):
        spread(scores)


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # Of ten pairs, (2, 3) and (4, 5) are turned round: (8 - 2) / 10.
        ([1, 2, 3, 4, 5], [1, 3, 2, 5, 4], 0.6),
        # Six pairs, one tied on the left; four agree, one doesn't: 3 / sqrt(5 * 6).
        ([1, 1, 2, 3], [1, 2, 4, 3], 3 / 30**0.5),
    ],
)
def test_kendall_s_tau_by_hand(first: list[float], second: list[float], tau: float) -> None:
    assert kendall_tau(first, second) == pytest.approx(tau)
    assert kendall_tau(second, first) == pytest.approx(tau)


def test_kendall_s_tau_needs_pairs_that_differ() -> None:
    assert math.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))
    with pytest.raises(ValueError, match="3 and 2 scores"):
        kendall_tau([1, 2, 3], [1, 2])
