"""REINFORCE over independent logits, with the schedule of TuNAS.

Bender et al., arXiv 2008.06120, and google-research/tunas: a categorical distribution per decision
whose logits start at zero, a debiased moving average of rewards as the baseline, and Adam without
momentum, whose step is zero for the first part of the search and then grows exponentially.
TuNAS takes thousands of samples in each of thousands of steps; here a step is one trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from nas.controllers.base import Controller, Stop
from nas.controllers.baseline import Baseline
from nas.settings import Settings
from nas.space import Code, Space


class ReinforceSettings(Settings):
    """Hyper-parameters, each with its symbol.

    Attributes:
        horizon: T, the steps of the schedule; after that the step size stays.
        delay: the share of T in which nothing is learnt, but by the baseline.
        lr: Adam's step size α at the end of the delay. TuNAS: 4.8e-3 for batches of 4,096.
        growth: the factor by which α has grown at T.
        beta: Adam's β2.
        decay: m, the moving average's factor, per reward.
        entropy: the weight of the entropy bonus H.
    """

    horizon: PositiveInt = 200
    delay: float = Field(default=0.25, ge=0.0, lt=1.0)
    lr: PositiveFloat = 0.05
    growth: PositiveFloat = 10.0
    beta: float = Field(default=0.999, gt=0.0, lt=1.0)
    decay: float = Field(default=0.95, gt=0.0, lt=1.0)
    entropy: NonNegativeFloat = 0.0


class Reinforce(Controller):
    """Learns from its own proposals; others' results move the baseline only."""

    settings_type: ClassVar[type[Settings]] = ReinforceSettings
    repeats: ClassVar[bool] = True
    settings: ReinforceSettings

    def __init__(self, space: Space, seed: int, settings: ReinforceSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        shape = len(space.decisions), max(len(d.choices) for d in space.decisions)
        self._logits: Any = np.zeros(shape)
        self._square: Any = np.zeros(shape)  # Adam's second moment
        self._baseline = Baseline(self.settings.decay)
        self._steps = 0

    def propose(self, number: int, draw: int = 0) -> Code:
        """Draws a code from the distribution."""
        rng = self.generator(number, draw)
        code: list[int] = []
        for place in range(len(self.space.decisions)):
            chances = self._chances(place, code)
            code.append(rng.choices(range(len(chances)), chances)[0])
        return tuple(code)

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Learns from the result of an own proposal."""
        self._learn(code, self._baseline.advantage(reward, excess))

    def stop(self, number: int | None, stop: Stop) -> None:
        """Learns from the rank of an own proposal that was stopped."""
        if number is not None:
            self._learn(stop.code, self._baseline.of_rank(stop.rank))

    def _learn(self, code: Code, advantage: float) -> None:
        """Takes one step of the schedule."""
        self._steps += 1
        if rate := self._rate():
            self._ascend(code, advantage, rate)

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Moves the baseline by another's result."""
        if reward is not None:
            self._baseline.advantage(reward)

    def _rate(self) -> float:
        """Returns α at this step: 0, then growing exponentially from `lr` to `growth` · `lr`."""
        part, delay = min(self._steps / self.settings.horizon, 1.0), self.settings.delay
        if part <= delay:
            return 0.0
        return self.settings.lr * self.settings.growth ** ((part - delay) / (1.0 - delay))

    def _ascend(self, code: Code, advantage: float, rate: float) -> None:
        """Takes one step of Adam with β1 = 0 up A ∇ log p(code) + entropy ∇ H."""
        gradient = np.zeros_like(self._logits)
        for place, choice in enumerate(code):
            # ∂ log p(a) / ∂ logits = 1_a - p, and ∂ H / ∂ logits = -p (log p - Σ p log p).
            chances = np.array(self._chances(place, code[:place]))
            logs = np.log(chances, where=chances > 0, out=np.zeros_like(chances))
            row = gradient[place, : len(chances)]
            row -= advantage * chances
            row[choice] += advantage
            row -= self.settings.entropy * chances * (logs - (chances * logs).sum())
        self._square = self.settings.beta * self._square + (1 - self.settings.beta) * gradient**2
        # Adam's correction of the second moment's bias counts the updates alone.
        updates = self._steps - math.floor(self.settings.delay * self.settings.horizon)
        size = np.sqrt(self._square / (1 - self.settings.beta**updates)) + 1e-8
        self._logits += rate * gradient / size

    def _chances(self, place: int, prefix: Sequence[int]) -> list[float]:
        """Returns the probability of each choice, 0 for one that isn't legal."""
        mask = self.space.legal(prefix)
        logits = self._logits[place, : len(mask)].tolist()
        peak = max(logit for logit, is_legal in zip(logits, mask, strict=True) if is_legal)
        weights = [
            math.exp(x - peak) if is_legal else 0.0
            for x, is_legal in zip(logits, mask, strict=True)
        ]
        total = sum(weights)
        return [weight / total for weight in weights]
