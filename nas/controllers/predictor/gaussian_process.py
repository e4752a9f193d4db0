"""A Gaussian process over codes and features, in numpy.

The covariance of two candidates is a mixture of four terms, each 1 for equal candidates: how many
decisions they share (main effects), a power of that (interactions of every order), and how near
their features are on a fine and on a coarse scale. Its parameters are those of the highest evidence
found (Rasmussen and Williams, Gaussian Processes for Machine Learning, equation 5.8), with the
output's scale in closed form.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

STARTS, STEPS = 24, 40
"""Kernels drawn at first, and steps of the climb from the best of them."""


class Points(NamedTuple):
    """Candidates as the process sees them.

    Attributes:
        codes: (N, T) choices.
        features: (N, P) numbers, standardised.
    """

    codes: Any
    features: Any


class Distances(NamedTuple):
    """How far N candidates are from M others, in single precision.

    Attributes:
        differing: (N, M) share of decisions that differ.
        squared: (N, M) mean squared difference of features.
    """

    differing: Any
    squared: Any

    @classmethod
    def between(cls, ours: Points, theirs: Points) -> Distances:
        """Measures every pair."""
        same = np.zeros((len(ours.codes), len(theirs.codes)), dtype=np.int16)
        for mine, other in zip(ours.codes.T, theirs.codes.T, strict=True):
            same += (mine[:, None] == other[None, :]).view(np.int8)
        differing = 1.0 - same.astype(np.float32) / max(ours.codes.shape[1], 1)
        mine, other = (points.features.astype(np.float32) for points in (ours, theirs))
        lengths = (mine**2).sum(1)[:, None] + (other**2).sum(1)[None, :]
        squared = lengths - 2.0 * mine @ other.T
        return cls(differing, np.maximum(squared, 0.0) / max(mine.shape[1], 1))

    def among(self, part: slice) -> Distances:
        """Returns those among some of the candidates, where N and M are the same ones."""
        return Distances(self.differing[part, part], self.squared[part, part])


class Kernel(NamedTuple):
    """Parameters of the covariance.

    Attributes:
        shares: (4,) weights of the terms, with sum 1.
        code_length: share of decisions over which interactions fade.
        feature_length: standard deviations over which the fine term of the features fades; the
            coarse one takes four times as much.
        noise: variance of a result's noise, relative to the process's own.
    """

    shares: Any
    code_length: float
    feature_length: float
    noise: float

    def __call__(self, far: Distances) -> Any:
        """Returns covariances, in units of the process's own variance."""
        main, power, fine, coarse = (float(share) for share in self.shares)
        scale = -0.5 / self.feature_length**2
        covariance = (
            main * (1.0 - far.differing)
            + power * np.exp(far.differing / -self.code_length)
            + fine * np.exp(scale * far.squared)
            + coarse * np.exp(scale / 16.0 * far.squared)
        )
        return covariance.astype(float)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Kernel:
        """Draws a kernel, wide enough for tables and graphs alike."""
        return cls(
            shares=rng.dirichlet(np.ones(4)),
            code_length=math.exp(rng.uniform(math.log(0.15), math.log(1.5))),
            feature_length=math.exp(rng.uniform(math.log(0.3), math.log(3.0))),
            noise=math.exp(rng.uniform(math.log(0.005), math.log(1.0))),
        )

    def near(self, rng: np.random.Generator) -> Kernel:
        """Draws a kernel near this one."""
        shares = self.shares * np.exp(0.5 * rng.standard_normal(4)) + 1e-4
        code_length, feature_length, noise = np.exp(0.35 * rng.standard_normal(3))
        return Kernel(
            shares=shares / shares.sum(),
            code_length=float(np.clip(self.code_length * code_length, 0.05, 5.0)),
            feature_length=float(np.clip(self.feature_length * feature_length, 0.1, 10.0)),
            noise=float(np.clip(self.noise * noise, 1e-3, 10.0)),
        )


def fit(far: Distances, values: Any, noises: Any, rng: np.random.Generator) -> Kernel:
    """Returns the kernel of the highest evidence among some that are drawn, then improved.

    Args:
        far: distances among N candidates.
        values: (N,) results, with mean 0.
        noises: (N,) further variance of single results, relative to `values`' own.
    """

    def evidence(kernel: Kernel) -> float:
        covariance = _noisy(kernel, far, noises)
        scale = float(values @ np.linalg.solve(covariance, values)) / len(values)
        log_determinant = 2.0 * float(np.log(np.diag(np.linalg.cholesky(covariance))).sum())
        return -0.5 * (len(values) * math.log(max(scale, 1e-12)) + log_determinant)

    drawn = [(evidence(kernel), kernel) for kernel in (Kernel.draw(rng) for _ in range(STARTS))]
    best, kernel = max(drawn, key=lambda pair: pair[0])
    for _ in range(STEPS):
        other = kernel.near(rng)
        if (found := evidence(other)) > best:
            best, kernel = found, other
    return kernel


def _noisy(kernel: Kernel, far: Distances, noises: Any) -> Any:
    covariance = kernel(far)
    covariance[np.diag_indices_from(covariance)] += kernel.noise + noises
    return covariance


class Process:
    """The process, given noisy values at some points.

    Attributes:
        fitted: (N,) expected values at these points.
    """

    def __init__(
        self, points: Points, far: Distances, values: Any, noises: Any, kernel: Kernel
    ) -> None:
        """Conditions on values; but for the points, the arguments are those of `fit`."""
        self.points, self.kernel = points, kernel
        self.inverse = np.linalg.inv(_noisy(kernel, far, noises))
        self.weights = self.inverse @ values
        self.scale = max(float(values @ self.weights) / len(values), 1e-12)
        self.fitted = values - (kernel.noise + noises) * self.weights

    def covariance(self, points: Points) -> Any:
        """Returns the (M, N) covariances of M points with those of the values."""
        return self.kernel(Distances.between(points, self.points))


class Outlook:
    """What a process expects at M candidates, also once more values have come."""

    def __init__(self, process: Process, points: Points) -> None:
        """Does the part of the work that depends on the process's own values alone."""
        self._process, self._points = process, points
        ours = process.covariance(points)
        self._solved = ours @ process.inverse
        self._mean = ours @ process.weights
        self._variance = 1.0 - (self._solved * ours).sum(1)

    def given(self, later: Points, values: Any, noises: Any) -> tuple[Any, Any]:
        """Returns the (M,) means and standard deviations.

        Args:
            later: L further points.
            values: (L,) what came out there; NaN where it isn't known yet: that narrows the
                deviations only.
            noises: (L,) as for `fit`.
        """
        mean, variance = self._mean, self._variance
        if len(values):
            process = self._process
            theirs = process.covariance(later)
            shared = process.kernel(Distances.between(self._points, later))
            shared -= self._solved @ theirs.T
            own = _noisy(process.kernel, Distances.between(later, later), noises)
            own -= theirs @ process.inverse @ theirs.T
            variance = variance - (np.linalg.solve(own, shared.T).T * shared).sum(1)
            known = np.flatnonzero(~np.isnan(values))
            surprise = values[known] - theirs[known] @ process.weights
            mean = mean + shared[:, known] @ np.linalg.solve(own[np.ix_(known, known)], surprise)
        return mean, np.sqrt(self._process.scale * np.maximum(variance, 1e-9))
