"""The surrogate: two Gaussian processes, one of rewards and one of feasibility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.controllers.predictor.features import Encoding, Standardize
from nas.controllers.predictor.gaussian_process import (
    Distances,
    Floats,
    GPRegressor,
    Points,
    Posterior,
    fit_kernel,
)
from nas.controllers.predictor.observations import (
    Observation,
    OutputTransform,
    extrapolated,
    feasibility_targets,
    remembered,
)
from nas.space import Code

LOW = -3.0
"""The worst value that acquisition is measured from, in standard deviations."""


class Posteriors(NamedTuple):
    """What both processes expect at some candidates; None where there is no such process."""

    rewards: Posterior | None
    feasibility: Posterior | None


class Prediction(NamedTuple):
    """Means and standard deviations at M candidates, (M,) each; None without such a process.

    Attributes:
        rewards: of the transformed reward.
        feasibility: of a value that is above 0 where a candidate is feasible.
    """

    rewards: tuple[Floats, Floats] | None
    feasibility: tuple[Floats, Floats] | None


class Surrogate:
    """A model of rewards and feasibility, fitted to some observations.

    Attributes:
        codes: the observed candidates that it remembers, those with rewards first.
        lowest: the value of the worst reward, or -3 standard deviations if that is higher.
    """

    def __init__(
        self,
        encoding: Encoding,
        observations: Sequence[Observation],
        memory: int,
        rng: np.random.Generator,
    ) -> None:
        """Fits both processes.

        Args:
            encoding: of the space.
            observations: two at least have rewards, or their feasibility differs.
            memory: how many observations are remembered at most.
            rng: draws kernels.
        """
        self._memory = memory
        self._full = [one for one in observations if one.reward is not None]
        rows = remembered(extrapolated(observations), memory)
        rows.sort(key=lambda one: one.reward is None)  # those with rewards first
        scored = [one for one in rows if one.reward is not None]
        self.codes = [one.code for one in rows]
        self._standardize = Standardize(encoding, self.codes)
        points = self._standardize.points(self.codes)
        far = Distances.between(points, points)  # both processes read parts of it
        self._rewards: GPRegressor | None = None
        self._feasibility: GPRegressor | None = None
        if len(scored) > 1:
            self._transform = OutputTransform(scored)
            values, noises = self._transform(scored)
            self.lowest = max(float(values.min()), LOW)
            self._rewards = self._regressor(points, far, values, noises, rng)
        # Where everything was feasible, there is nothing to learn of it.
        if len(scored) < len(rows):
            targets = feasibility_targets(rows)
            self._base = float(targets.mean())
            noises = np.zeros(len(rows))
            regressor = self._regressor(points, far, targets - self._base, noises, rng)
            self._feasibility = regressor
            self._noise = (regressor.scale * regressor.kernel.noise) ** 0.5  # its deviation

    def _regressor(
        self,
        points: Points,
        far: Distances,
        values: Floats,
        noises: Floats,
        rng: np.random.Generator,
    ) -> GPRegressor:
        """Fits a process to the values of the first points.

        The kernel is fitted to every nth of them, a quarter of the memory at most: its evidence
        takes a decomposition, O(N³), for each kernel that is tried.
        """
        first = slice(len(values))
        some = slice(None, len(values), -(-4 * len(values) // self._memory))
        kernel = fit_kernel(far.among(some), values[some], noises[some], rng)
        points = Points(points.codes[first], points.features[first])
        return GPRegressor(points, far.among(first), values, noises, kernel)

    def best_codes(self) -> list[Code]:
        """Returns remembered codes, the best by expected value first: it is less noisy than seen.

        Only those with rewards, where there is a process of rewards.
        """
        process = self._rewards or self._feasibility
        assert process is not None
        return [self.codes[i] for i in np.argsort(-process.fitted, kind="stable").tolist()]

    def posteriors(self, codes: Sequence[Code]) -> Posteriors:
        """Does once what every prediction at these codes needs."""
        points = self._standardize.points(codes)
        return Posteriors(
            None if self._rewards is None else Posterior(self._rewards, points),
            None if self._feasibility is None else Posterior(self._feasibility, points),
        )

    def predict(
        self,
        posteriors: Posteriors,
        later: Sequence[Observation] = (),
        pending: Sequence[Code] = (),
    ) -> Prediction:
        """Returns means and deviations at candidates.

        Args:
            posteriors: at these candidates.
            later: observations that came after those that it was fitted to.
            pending: codes whose results are to come. They narrow deviations as if known.
        """
        later = extrapolated(later, self._full)
        rewards = feasibility = None
        if posteriors.rewards is not None:
            rows = [one for one in later if one.reward is not None]
            rows += [Observation(code, None) for code in pending]
            points = self._standardize.points([one.code for one in rows])
            rewards = posteriors.rewards.conditioned(points, *self._transform(rows))
        if posteriors.feasibility is not None:
            points = self._standardize.points([*(one.code for one in later), *pending])
            targets = feasibility_targets(later) - self._base
            values = np.concatenate([targets, np.full(len(pending), np.nan)])
            mean, deviation = posteriors.feasibility.conditioned(
                points, values, np.zeros(len(values))
            )
            # A result, unlike the expectation, has the noise too.
            feasibility = self._base + mean, np.hypot(deviation, self._noise)
        return Prediction(rewards, feasibility)
