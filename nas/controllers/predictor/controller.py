"""Bayesian optimisation: a surrogate of rewards and feasibility, and an acquisition over it.

After a balanced initial design, a proposal is the candidate of a pool with the highest upper
confidence bound, times the probability that it is feasible. What is under way counts as observed,
so that candidates proposed together differ (GP-BUCB, Desautels et al., arXiv 1206.6402). The
surrogate sees a code's decisions, and the space's features of its candidate.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from nas.controllers.base import Controller, Stop
from nas.controllers.predictor.acquisition import Acquisition
from nas.controllers.predictor.features import Encoding
from nas.controllers.predictor.observations import Observation
from nas.controllers.predictor.surrogate import Surrogate
from nas.settings import Settings
from nas.space import Code, Space

LOSSES = 2
"""Times that a candidate may be withdrawn before it is left out: it may be what kills workers."""
LATER = 64
"""Results at most by which a fit is behind; it is conditioned on the newest ones."""
KEPT = 8
"""Fits that share the same uniform draws, whose features are what takes the time."""


class PredictorSettings(Settings):
    """Hyper-parameters.

    Attributes:
        initial: proposals before the surrogate is asked.
        pool: candidates that a proposal is chosen from, half of them uniform draws.
        beta: β, how many standard deviations a bound lies above the mean.
        memory: results that the surrogate remembers at most, half of them the best ones. Its
            kernel is fitted to a quarter as many.
    """

    initial: PositiveInt = 10
    pool: PositiveInt = 300
    beta: NonNegativeFloat = 1.0
    memory: PositiveInt = 1000


class Predictor(Controller):
    """Learns from every result, its own and others', infeasible ones too.

    The surrogate is a function of the results so far: fitted to all of them up to 64, and to all
    but the last few per cent where there are more, which it is then conditioned on. It is made
    when a proposal needs it, so that absorbing a recorded run costs nothing.
    """

    settings_type: ClassVar[type[Settings]] = PredictorSettings
    settings: PredictorSettings

    def __init__(self, space: Space, seed: int, settings: PredictorSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        self._observations: list[Observation] = []
        self._open: dict[int, Code] = {}
        self._withdrawn: Counter[Code] = Counter()
        self._curve: tuple[float, ...] = ()  # of the result that is told next
        self._encoding = Encoding(space)
        self._draws = lru_cache(maxsize=1)(self._uniform_draws)
        self._acquisition: Acquisition | None = None
        self._ranked: list[Code] | None = None  # by the newest events

    def propose(self, number: int, draw: int = 0) -> Code:
        """Returns the best of the pool, for another draw the next best, then uniform draws."""
        rng = self.generator(number, draw)
        is_begun = len(self._observations) + len(self._open) >= self.settings.initial
        acquisition = self._current_acquisition() if is_begun else None
        if acquisition is None:
            return self._balanced(rng)
        if self._ranked is None:
            lost = [code for code, times in self._withdrawn.items() if times >= LOSSES]
            later = self._observations[acquisition.count :]
            self._ranked = acquisition.ranking(later, [*self._open.values()], lost)
        ranked = self._ranked
        return ranked[draw] if draw < len(ranked) else self.space.sample_code(rng)

    def asked(self, number: int, code: Code) -> None:
        """Counts a proposal as under way."""
        self._open[number] = code
        self._ranked = None

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Takes the result of an own proposal as an observation."""
        del self._open[number]
        self.observe(code, reward, excess)

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Takes any result as an observation."""
        self._observations.append(Observation(code, reward, self._curve, excess))
        self._curve, self._ranked = (), None

    def reports(self, code: Code, curve: tuple[float, ...]) -> None:
        """Keeps the curve of the result that comes next."""
        self._curve = curve

    def stop(self, number: int | None, stop: Stop) -> None:
        """Takes a stopped trial's curve as an observation without a reward."""
        if number is not None:
            del self._open[number]
        self._observations.append(Observation(stop.code, None, stop.curve))
        self._ranked = None

    def withdraw(self, number: int, code: Code) -> None:
        """Counts a loss: the code may be proposed again, but not be lost for ever."""
        self._withdrawn[self._open.pop(number)] += 1
        self._ranked = None

    def _balanced(self, rng: random.Random) -> Code:
        """Draws a code whose choices were rarely proposed: so main effects are learnt first."""
        codes = [*(one.code for one in self._observations), *self._open.values()]
        counts = [Counter(code[t] for code in codes) for t in range(len(self.space.decisions))]
        drawn = [self.space.sample_code(rng) for _ in range(10)]
        return max(drawn, key=lambda c: sum(1.0 / (1 + n[c[t]]) for t, n in enumerate(counts)))

    def _current_acquisition(self) -> Acquisition | None:
        """Returns the acquisition by the newest fit; None while there is nothing to fit to.

        With N results a fit is at most `step` behind, the power of two at N / 64 (64 at most), so
        that fits grow rarer as they grow dearer.
        """
        step = min(LATER, 2 ** max(0, len(self._observations).bit_length() - 6))
        count = len(self._observations) // step * step
        if self._acquisition is None or self._acquisition.count != count:
            observations = self._observations[:count]
            excesses = {one.excess for one in observations}
            rewards = sum(one.reward is not None for one in observations)
            if rewards < 2 and len(excesses) < 2:
                return None
            # All that is drawn follows from the count, so that a replay draws the same.
            rng = self.generator(count, -1)
            draws = self._draws(count - count % (KEPT * step))
            drawing = np.random.default_rng(rng.getrandbits(64))
            surrogate = Surrogate(self._encoding, observations, self.settings.memory, drawing)
            self._acquisition = Acquisition(
                self.space,
                surrogate,
                [one.code for one in observations],
                draws,
                rng,
                size=self.settings.pool,
                beta=self.settings.beta,
            )
        return self._acquisition

    def _uniform_draws(self, count: int) -> list[Code]:
        """Returns the pool's uniform draws from a count of results on."""
        rng = self.generator(count, -2)
        return [self.space.sample_code(rng) for _ in range(self.settings.pool // 2)]
