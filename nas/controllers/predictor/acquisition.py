"""The acquisition function, upper confidence bound times feasibility, over a pool of candidates."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from nas.controllers.evolution import mutated
from nas.controllers.predictor.gaussian_process import Floats
from nas.controllers.predictor.observations import Observation
from nas.controllers.predictor.surrogate import Posteriors, Prediction, Surrogate
from nas.space import Code, Space

ROUNDS = 2
"""Times that the pool is widened by mutants of what looks best."""


def acquisition(prediction: Prediction, beta: float, lowest: float) -> Floats:
    """Returns a(x) = max(μ(x) + β σ(x) - lowest, 0) · P(x is feasible), (M,).

    Measured from the lowest value, bounds are above 0, so that a small chance of being feasible
    makes every candidate worse. A factor that isn't known is 1.

    Args:
        prediction: at M candidates.
        beta: how many standard deviations the bound lies above the mean.
        lowest: the value that bounds are measured from.
    """
    scores = np.ones(())
    if prediction.rewards is not None:
        mean, deviation = prediction.rewards
        scores = np.maximum(mean + beta * deviation - lowest, 1e-9)
    if prediction.feasibility is not None:
        scores = scores * probability_above_zero(*prediction.feasibility)
    return scores


def probability_above_zero(mean: Floats, deviation: Floats) -> Floats:
    """Returns the (M,) probabilities that normal numbers are above 0.

    Φ(z) ≈ 1 / (1 + exp(-1.702 z)): Bowling et al., J. Ind. Eng. Manag. 2(1), 2009. It is within
    0.01 of Φ, whose own tail falls so fast that far from any limit all candidates would be equal,
    at 0.
    """
    return 1.0 / (1.0 + np.exp(np.clip(-1.702 * mean / deviation, -30.0, 600.0)))


class Acquisition:
    """A surrogate's acquisition over a pool of candidates that weren't observed.

    Attributes:
        count: how many observations the surrogate was fitted to.
    """

    def __init__(
        self,
        space: Space,
        surrogate: Surrogate,
        observed: Sequence[Code],
        draws: Sequence[Code],
        rng: random.Random,
        *,
        size: int,
        beta: float,
    ) -> None:
        """Widens uniform draws to the pool, or takes all of a small space.

        Args:
            space: what is searched.
            surrogate: fitted to what was observed.
            observed: the codes of all observations, which are left out.
            draws: uniform draws.
            rng: draws parents and mutations.
            size: of the pool.
            beta: of the bound.
        """
        self.count = len(observed)
        self._space, self._surrogate, self._observed = space, surrogate, set(observed)
        self._size, self._beta = size, beta
        self._pool = self._widened(draws, rng)
        self._posteriors = surrogate.posteriors(self._pool)

    def ranking(
        self, later: Sequence[Observation], pending: Sequence[Code], lost: Sequence[Code]
    ) -> list[Code]:
        """Returns the pool's codes that weren't tried, the most promising first.

        Args:
            later: observations that came after those that the surrogate was fitted to.
            pending: codes whose results are to come.
            lost: codes to be left out besides.
        """
        tried = {*pending, *lost, *(one.code for one in later)}
        scores = self._scores(self._posteriors, later, pending)
        order = np.argsort(-scores, kind="stable").tolist()
        return [self._pool[i] for i in order if self._pool[i] not in tried]

    def _scores(
        self,
        posteriors: Posteriors,
        later: Sequence[Observation] = (),
        pending: Sequence[Code] = (),
    ) -> Floats:
        """Returns the acquisition at candidates, by their posteriors."""
        prediction = self._surrogate.predict(posteriors, later, pending)
        lowest = 0.0 if prediction.rewards is None else self._surrogate.lowest
        return acquisition(prediction, self._beta, lowest)

    def _widened(self, draws: Sequence[Code], rng: random.Random) -> list[Code]:
        """Returns the pool: uniform draws, which explore, and mutants of the best, which refine."""
        if self._space.size() <= self._size:
            return [code for code in self._space.codes() if code not in self._observed]
        pool = dict.fromkeys(draws)
        # The first round's parents are observed; the next one's are the best of the pool so far.
        parents = self._surrogate.best_codes()
        for _ in range(ROUNDS):
            parents = parents[: max(5, len(parents) // 5)]
            for _ in range(self._size // (2 * ROUNDS)):
                # The better, the more often; one decision changed, or two.
                code = mutated(self._space, parents[int(len(parents) * rng.random() ** 2)], rng)
                pool[code if rng.random() < 0.5 else mutated(self._space, code, rng)] = None
            unseen = [code for code in pool if code not in self._observed]
            if not unseen:
                break
            scores = self._scores(self._surrogate.posteriors(unseen))
            parents = [unseen[i] for i in np.argsort(-scores, kind="stable").tolist()]
        return [code for code in pool if code not in self._observed]
