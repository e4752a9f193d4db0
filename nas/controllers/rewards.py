"""Results as the values that a model of rewards is fitted to."""

from __future__ import annotations

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
    """

    code: Code
    reward: float | None
    curve: tuple[float, ...] = ()

    @property
    def is_stopped(self) -> bool:
        return self.reward is None and bool(self.curve)


class Row(NamedTuple):
    """What the model is given: a reward, None where the candidate can't be had, and its error.

    Attributes:
        error: standard deviation in the reward's unit beyond a full trial's own noise.
    """

    code: Code
    reward: float | None
    error: float = 0.0


def in_full(told: Sequence[Told]) -> list[Row]:
    """Returns results with the rewards that stopped trials would have had at full length.

    For each length, a line through the trials that were not stopped there leads from the reward at
    that report to the last one; its residuals are the error.
    """
    full = [one for one in told if one.reward is not None]
    lines = {len(one.curve): None for one in told if one.is_stopped}
    fits = {length: line_to_full(full, length) for length in lines}
    rows = []
    for one in told:
        if one.is_stopped:
            start, slope, error = fits[len(one.curve)]
            rows.append(Row(one.code, start + slope * one.curve[-1], error))
        else:
            rows.append(Row(one.code, one.reward))
    return rows


def line_to_full(full: Sequence[Told], length: int) -> tuple[float, float, float]:
    """Returns intercept, slope and residual deviation of full rewards over those at a report."""
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
    """Returns at most `limit` rows: the best ones, and as many of the others, evenly spread."""
    if len(rows) <= limit:
        return list(rows)
    ranked = sorted(rows, key=lambda row: (row.reward is None, -(row.reward or 0.0)))
    best, others = ranked[: limit // 2], ranked[limit // 2 :]
    step = len(others) / (limit - len(best))
    return best + [others[int(i * step)] for i in range(limit - len(best))]


def levelled(rows: Sequence[Row]) -> tuple[Any, Any]:
    """Returns rewards with mean 0 and deviation 1, and the variances of their errors beside that.

    Rewards far below the median are drawn nearer: how bad a bad result is says little about the
    good ones, and would be most of the variance.
    """
    rewards = np.array([row.reward for row in rows], dtype=float)
    errors = np.array([row.error for row in rows]) / (rewards.std() or 1.0)
    centre = np.median(rewards)
    spread = np.median(np.abs(rewards - centre)) or rewards.std() or 1.0
    values = (rewards - centre) / spread
    values = np.where(values < 0.0, -np.log1p(np.maximum(-values, 0.0)), values)
    return (values - values.mean()) / (values.std() or 1.0), errors**2
