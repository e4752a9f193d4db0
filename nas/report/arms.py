"""Whether the controller did better than random draws: the expected best of n trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.study.objective import ObjectiveSettings
from nas.study.trial import Arm, Record

DRAWS = 2000


class ExpectedBest(NamedTuple):
    """The best reward to be expected of `trials` draws, with a 95 % interval."""

    mean: float
    low: float
    high: float
    trials: int


def scores_of(records: Sequence[Record], arm: Arm, objective: ObjectiveSettings) -> list[float]:
    """Scores of an arm's trials of the search, in order of completion."""
    rows = [row for row in records if row.phase == "search" and row.arm == arm and row.is_scored]
    return [objective.score(row) for row in sorted(rows, key=_told)]


def _told(row: Record) -> int:
    return row.tell_seq or 0


def expected_best(rewards: Sequence[float], trials: int, seed: int = 0) -> ExpectedBest:
    """Estimates the best of `trials` draws from the distribution that gave `rewards`.

    The mean is exact for draws with replacement from the rewards themselves: the k-th smallest of
    N is the best of n with probability (k/N)^n − ((k−1)/N)^n (Dodge et al., arXiv 1909.03004,
    section 3.1). The interval is a bootstrap's over the rewards.

    Raises:
        ValueError: There are no rewards.
    """
    if not rewards:
        raise ValueError("no rewards: there is nothing to expect")
    values = np.sort(np.asarray(rewards, dtype=float))
    count = len(values)
    ranks = np.arange(count + 1) / count
    weights = np.diff(ranks**trials)
    again = np.random.default_rng(seed).choice(values, (DRAWS, count))
    means: NDArray[np.float64] = np.sort(again, axis=1) @ weights
    low, high = np.quantile(means, (0.025, 0.975))
    return ExpectedBest(float(values @ weights), float(low), float(high), trials)


def comparison(records: Sequence[Record], objective: ObjectiveSettings) -> dict[Arm, ExpectedBest]:
    """Returns the expected best of each arm at as many trials as the smaller arm has.

    Empty where one of them has fewer than two.
    """
    arms: tuple[Arm, ...] = ("controller", "control")
    rewards = {arm: scores_of(records, arm, objective) for arm in arms}
    trials = min(len(values) for values in rewards.values())
    if trials < 2:
        return {}
    return {arm: expected_best(values, trials) for arm, values in rewards.items()}
