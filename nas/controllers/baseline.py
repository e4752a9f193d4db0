"""The baseline of policy gradients: what a reward is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

CLEAR = 0.02
"""Ranks are kept this far from 0 and 1, where their normal quantiles end."""


@dataclass
class Baseline:
    """Moving averages of rewards and of their squared distance to it, free of the bias to 0.

    Attributes:
        decay: the factor of both averages, per reward.
    """

    decay: float
    total: float = 0.0
    spread: float = 0.0
    weight: float = 0.0

    def advantage(self, reward: float | None, excess: float = 0.0) -> float:
        """Takes a reward; returns how far above the average it is, the average with it.

        The unit is the rewards' own spread, so that the scale of a metric doesn't matter. An
        infeasible candidate is as far below as a clearly bad trial, and doesn't move the average.

        Args:
            reward: None for an infeasible candidate.
            excess: then how far over the limits it is.
        """
        if reward is None:
            return -1.0 - min(excess, 1.0)
        # m ← γ m + (1 - γ) r, divided by the weight 1 - γⁿ that the n rewards have in it.
        self.weight = self.decay * self.weight + (1 - self.decay)
        self.total = self.decay * self.total + (1 - self.decay) * reward
        distance = reward - self.total / self.weight
        self.spread = self.decay * self.spread + (1 - self.decay) * distance**2
        deviation = (self.spread / self.weight) ** 0.5
        return distance / deviation if deviation > 1e-12 else 0.0

    @staticmethod
    def of_rank(rank: float) -> float:
        """Returns the advantage of a trial that was stopped: its rank as a normal quantile.

        Its reward is one of a shorter training, and says nothing beside those of full ones.
        """
        return NormalDist().inv_cdf(min(max(rank, CLEAR), 1.0 - CLEAR))
