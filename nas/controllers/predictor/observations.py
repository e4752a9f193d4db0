"""Results as the values that a model of rewards is fitted to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nas.space import Code


class Told(NamedTuple):
    """A result.

    Attributes:
        reward: None where the candidate can't be had, or was stopped.
        curve: rewards report by report, in searches that stop trials.
        excess: of a candidate that can't be had, how far over the limits it is.
    """

    code: Code
    reward: float | None
    curve: tuple[float, ...] = ()
    excess: float = 0.0

    @property
    def is_stopped(self) -> bool:
        return self.reward is None and bool(self.curve)


class Row(NamedTuple):
    """What the model is given: a reward, None where the candidate can't be had, and its error.

    Attributes:
        error: standard deviation in the reward's unit beyond a full trial's own noise.
        excess: as of `Told`.
    """

    code: Code
    reward: float | None
    error: float = 0.0
    excess: float = 0.0


def in_full(told: Sequence[Told], full: Sequence[Told] | None = None) -> list[Row]:
    """Returns results with the rewards that stopped trials would have had at full length.

    For each length, a line through the trials that were not stopped there leads from the reward at
    that report to the last one; its residuals are the error.

    Args:
        full: the trials with rewards that lines go through, those of `told` if None.
    """
    if full is None:
        full = [one for one in told if one.reward is not None]
    lines = {len(one.curve): None for one in told if one.is_stopped}
    fits = {length: line_to_full(full, length) for length in lines}
    rows = []
    for one in told:
        if one.is_stopped:
            start, slope, error = fits[len(one.curve)]
            rows.append(Row(one.code, start + slope * one.curve[-1], error))
        else:
            rows.append(Row(one.code, one.reward, excess=one.excess))
    return rows


def line_to_full(full: Sequence[Told], length: int) -> tuple[float, float, float]:
    """Returns intercept, slope and residual deviation of full rewards over those at a report."""
    if not full:
        return 0.0, 1.0, 0.0  # nothing is known of what comes after
    pairs = [(one.curve[length - 1], one.reward) for one in full if len(one.curve) >= length]
    if len(pairs) < 2:
        rewards = [one.reward for one in full if one.reward is not None]
        return statistics.fmean(rewards), 0.0, statistics.pstdev(rewards)
    early, last = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    spread = float(early.var())
    slope = max(0.0, float(np.cov(early, last, bias=True)[0, 1]) / spread) if spread else 0.0
    start = float(last.mean()) - slope * float(early.mean())
    # Two of the trials went into the line.
    residual = float(((last - start - slope * early) ** 2).sum()) / max(1, len(pairs) - 2)
    return start, slope, residual**0.5


def kept(rows: Sequence[Row], limit: int) -> list[Row]:
    """Returns at most `limit` rows: the best ones, and as many of the others, evenly spread.

    What can't be had comes behind all others, the less over the limits the better.
    """
    if len(rows) <= limit:
        return list(rows)
    ranked = sorted(rows, key=lambda row: (row.reward is None, -(row.reward or 0.0), row.excess))
    best, others = ranked[: limit // 2], ranked[limit // 2 :]
    step = len(others) / (limit - len(best))
    return best + [others[int(i * step)] for i in range(limit - len(best))]


class Levels:
    """The way from rewards to values with mean 0 and deviation 1.

    Rewards far below the median are drawn nearer: how bad a bad result is says little about the
    good ones, and would be most of the variance. So are one or two that lie far above all others.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        """Takes the measure of rows with rewards."""
        rewards = np.array([row.reward for row in rows], dtype=float)
        self._unit = float(np.abs(rewards).max()) or 1.0  # so that no square overflows
        rewards = rewards / self._unit
        self._centre = float(np.median(rewards))
        apart = np.abs(rewards - self._centre)
        self._spread = float(np.median(apart)) or float(rewards.std()) or 1.0
        third = float(np.sort(rewards)[-3:][0])
        self._high = max(5.0, 3.0 * (third - self._centre) / self._spread)
        values = self._drawn(rewards)
        self._mean, self._deviation = float(values.mean()), float(values.std()) or 1.0

    def __call__(self, rows: Sequence[Row]) -> tuple[Any, Any]:
        """Returns (N,) values, NaN for a row without a reward, and the variances of their errors.

        The latter come on top of the noise that all values have.
        """
        given = [(math.nan if row.reward is None else row.reward, row.error) for row in rows]
        rewards, errors = np.array(given, dtype=float).reshape(-1, 2).T / self._unit
        values = (self._drawn(rewards) - self._mean) / self._deviation
        # An error is drawn nearer as its reward is: by the slope there.
        low = np.maximum((self._centre - rewards) / self._spread, 0.0)
        noises = (errors / (self._spread * self._deviation * (1.0 + low))) ** 2
        return values, np.nan_to_num(noises)

    def _drawn(self, rewards: Any) -> Any:
        values = (rewards - self._centre) / self._spread
        low, over = np.maximum(-values, 0.0), np.maximum(values - self._high, 0.0)
        return np.clip(values, 0.0, self._high) - np.log1p(low) + over / (1.0 + over / self._high)


def margins(rows: Sequence[Row]) -> Any:
    """Returns how safely candidates can be had: 1 where they can, else -0.5 to -1.

    The latter by their excess, so that a model finds the way where nothing could be had yet.
    """
    excess = np.array([row.excess for row in rows], dtype=float)
    can_be_had = np.array([row.reward is not None for row in rows], dtype=bool)
    return np.where(can_be_had, 1.0, -0.5 - 0.5 * np.clip(excess, 0.0, 1.0))
