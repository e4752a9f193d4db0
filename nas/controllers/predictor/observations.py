"""Observations, and the values that a surrogate is fitted to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.controllers.predictor.gaussian_process import Floats
from nas.space import Code


class Observation(NamedTuple):
    """What is known of a candidate.

    Attributes:
        code: the candidate's.
        reward: None where it is infeasible, or was stopped.
        curve: rewards report by report, in searches that stop trials.
        excess: of an infeasible candidate, how far over the limits it is.
        error: standard deviation in the reward's unit beyond a full trial's own noise, where the
            reward is an estimate.
    """

    code: Code
    reward: float | None
    curve: tuple[float, ...] = ()
    excess: float = 0.0
    error: float = 0.0

    @property
    def is_stopped(self) -> bool:
        """Whether the trial was ended between its reports, so that its reward isn't known."""
        return self.reward is None and bool(self.curve)


def extrapolated(
    observations: Sequence[Observation], full: Sequence[Observation] | None = None
) -> list[Observation]:
    """Gives stopped trials the rewards that they would have had at full length, with their error.

    For each length, a line through the trials that were not stopped there leads from the reward at
    that report to the last one; its residuals are the error.

    Args:
        observations: in any order.
        full: the trials with rewards that lines go through; those of `observations` if None.
    """
    if full is None:
        full = [one for one in observations if one.reward is not None]
    lengths = dict.fromkeys(len(one.curve) for one in observations if one.is_stopped)
    lines = {length: line_to_full(full, length) for length in lengths}
    results = []
    for one in observations:
        if one.is_stopped:
            start, slope, error = lines[len(one.curve)]
            reward = start + slope * one.curve[-1]
            one = Observation(one.code, reward, error=error)
        results.append(one)
    return results


def line_to_full(full: Sequence[Observation], length: int) -> tuple[float, float, float]:
    """Returns intercept, slope and residual deviation of full rewards over those at a report.

    Args:
        full: trials with rewards.
        length: the report, counted from 1.
    """
    if not full:
        return 0.0, 1.0, 0.0  # nothing is known of what comes after
    pairs = [(one.curve[length - 1], one.reward) for one in full if len(one.curve) >= length]
    if len(pairs) < 2:
        rewards = [one.reward for one in full if one.reward is not None]
        return statistics.fmean(rewards), 0.0, statistics.pstdev(rewards)
    # Least squares: slope = cov(x, y) / var(x), but never falling, and y = start + slope x.
    early, last = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    variance = float(early.var())
    slope = max(0.0, float(np.cov(early, last, bias=True)[0, 1]) / variance) if variance else 0.0
    start = float(last.mean()) - slope * float(early.mean())
    # Two of the trials went into the line.
    residual = float(((last - start - slope * early) ** 2).sum()) / max(1, len(pairs) - 2)
    return start, slope, residual**0.5


def remembered(observations: Sequence[Observation], limit: int) -> list[Observation]:
    """Returns at most `limit` of them: the best ones, and as many of the others, evenly spread.

    Infeasible ones come behind all others, the less over the limits the better.
    """
    if len(observations) <= limit:
        return list(observations)
    ranked = sorted(
        observations, key=lambda one: (one.reward is None, -(one.reward or 0.0), one.excess)
    )
    best, others = ranked[: limit // 2], ranked[limit // 2 :]
    step = len(others) / (limit - len(best))
    return best + [others[int(i * step)] for i in range(limit - len(best))]


class OutputTransform:
    """The way from rewards to values with mean 0 and deviation 1.

    Rewards far below the median are drawn nearer: how bad a bad result is says little about the
    good ones, and would be most of the variance. So are one or two that lie far above all others.
    """

    def __init__(self, observations: Sequence[Observation]) -> None:
        """Takes the measure of observations with rewards."""
        rewards = np.array([one.reward for one in observations], dtype=float)
        self._unit = float(np.abs(rewards).max()) or 1.0  # so that no square overflows
        rewards = rewards / self._unit
        # Median and median absolute deviation: one absurd reward doesn't move them.
        self._centre = float(np.median(rewards))
        apart = np.abs(rewards - self._centre)
        self._spread = float(np.median(apart)) or float(rewards.std()) or 1.0
        # What counts as far above: thrice as far as the third best, or five spreads.
        third = float(np.sort(rewards)[-3:][0])
        self._high = max(5.0, 3.0 * (third - self._centre) / self._spread)
        values = self._squashed(rewards)
        self._mean, self._deviation = float(values.mean()), float(values.std()) or 1.0

    def __call__(self, observations: Sequence[Observation]) -> tuple[Floats, Floats]:
        """Returns (N,) values, NaN without a reward, and the (N,) variances of their errors.

        The latter come on top of the noise that all values have.
        """
        pairs = [
            (math.nan if one.reward is None else one.reward, one.error) for one in observations
        ]
        rewards, errors = np.array(pairs, dtype=float).reshape(-1, 2).T / self._unit
        values = (self._squashed(rewards) - self._mean) / self._deviation
        # An error is drawn nearer as its reward is: by the slope there, 1 / (1 + low).
        low = np.maximum((self._centre - rewards) / self._spread, 0.0)
        noises = (errors / (self._spread * self._deviation * (1.0 + low))) ** 2
        return values, np.nan_to_num(noises)

    def _squashed(self, rewards: Floats) -> Floats:
        """Returns f(z) of z = (reward - centre) / spread, which rises everywhere.

        f is -log(1 - z) below 0, z up to the bound h, and h + o / (1 + o / h) above it, with
        o = z - h: it never reaches 2 h.
        """
        values = (rewards - self._centre) / self._spread
        low, over = np.maximum(-values, 0.0), np.maximum(values - self._high, 0.0)
        squashed = np.clip(values, 0.0, self._high) - np.log1p(low)
        return squashed + over / (1.0 + over / self._high)


def feasibility_targets(observations: Sequence[Observation]) -> Floats:
    """Returns (N,) values of how safely feasible candidates are: 1 if they are, else -0.5 to -1.

    The latter by their excess, so that a surrogate finds the way where nothing was feasible yet.
    """
    excess = np.array([one.excess for one in observations], dtype=float)
    is_feasible = np.array([one.reward is not None for one in observations], dtype=bool)
    return np.where(is_feasible, 1.0, -0.5 - 0.5 * np.clip(excess, 0.0, 1.0))
