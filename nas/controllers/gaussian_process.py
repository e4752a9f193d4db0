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
    """How far N candidates are from M others.

    Attributes:
        differing: (N, M) share of decisions that differ.
        squared: (N, M) mean squared difference of features.
    """

    differing: Any
    squared: Any

    @classmethod
    def between(cls, ours: Points, theirs: Points) -> Distances:
        """Measures every pair."""
        same = np.zeros((len(ours.codes), len(theirs.codes)), dtype=np.float32)
        for mine, other in zip(ours.codes.T, theirs.codes.T, strict=True):
            same += mine[:, None] == other[None, :]
        width = max(ours.features.shape[1], 1)
        lengths = (ours.features**2).sum(1)[:, None] + (theirs.features**2).sum(1)[None, :]
        squared = lengths - 2.0 * ours.features @ theirs.features.T
        return cls(1.0 - same / ours.codes.shape[1], np.maximum(squared, 0.0) / width)


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
        main, power, fine, coarse = self.shares
        scale = -0.5 / self.feature_length**2
        return (
            main * (1.0 - far.differing)
            + power * np.exp(far.differing / -self.code_length)
            + fine * np.exp(scale * far.squared)
            + coarse * np.exp(scale / 16.0 * far.squared)
        )

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


def fit(points: Points, values: Any, noises: Any, rng: np.random.Generator) -> Kernel:
    """Returns the kernel of the highest evidence among some that are drawn, then improved.

    Args:
        points: N candidates.
        values: (N,) results, with mean 0.
        noises: (N,) further variance of single results, relative to `values`' own.
    """
    far = Distances.between(points, points)

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
    """The process, given noisy values at some points."""

    def __init__(self, points: Points, values: Any, noises: Any, kernel: Kernel) -> None:
        """Conditions on values; the arguments are those of `fit`, and a kernel."""
        self._points, self._kernel = points, kernel
        self._inverse = np.linalg.inv(
            _noisy(kernel, Distances.between(points, points), noises),
        )
        self._weights = self._inverse @ values
        self._scale = max(float(values @ self._weights) / len(values), 1e-12)

    def mean(self, points: Points) -> Any:
        """Returns the (M,) expected values at M points."""
        return self._kernel(Distances.between(points, self._points)) @ self._weights

    def deviation(self, points: Points, pending: Points) -> Any:
        """Returns the (M,) standard deviations once the results at `pending` are known too."""
        ours = self._kernel(Distances.between(points, self._points))
        variance = 1.0 - ((ours @ self._inverse) * ours).sum(1)
        if len(pending.codes):
            theirs = self._kernel(Distances.between(pending, self._points))
            solved = self._inverse @ theirs.T
            shared = self._kernel(Distances.between(points, pending)) - ours @ solved
            own = self._kernel(Distances.between(pending, pending)) - theirs @ solved
            own[np.diag_indices_from(own)] += self._kernel.noise
            variance = variance - (np.linalg.solve(own, shared.T).T * shared).sum(1)
        return np.sqrt(self._scale * np.maximum(variance, 1e-9))
