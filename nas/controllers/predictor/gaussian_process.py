"""Gaussian process regression over codes and features, in numpy.

The covariance of two candidates is a mixture of four terms, each 1 for equal candidates: how many
decisions they share (main effects), a power of that (interactions of every order), and how near
their features are on a fine and on a coarse scale. Its parameters are those of the highest evidence
among many that are tried (Rasmussen and Williams, Gaussian Processes for Machine Learning, equation
5.8), with the output's scale in closed form.

Symbols are the book's: K, the covariances among N results; σ², their noise; y, their values; k*,
the covariances of a candidate with them. All covariances are in units of the output's variance s.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STARTS, STEPS = 24, 40
"""Kernels drawn at first, and steps of the climb from the best of them."""

Floats = NDArray[np.float64]


class Points(NamedTuple):
    """Candidates as the process sees them.

    Attributes:
        codes: (N, T) choices.
        features: (N, P) numbers, standardised.
    """

    codes: NDArray[np.integer[Any]]
    features: Floats


class Distances(NamedTuple):
    """How far N candidates are from M others, in single precision.

    Attributes:
        differing: (N, M) share of decisions that differ.
        squared: (N, M) mean squared difference of features.
    """

    differing: NDArray[np.float32]
    squared: NDArray[np.float32]

    @classmethod
    def between(cls, ours: Points, theirs: Points) -> Distances:
        """Measures every pair."""
        same = np.zeros((len(ours.codes), len(theirs.codes)), dtype=np.int16)
        for mine, other in zip(ours.codes.T, theirs.codes.T, strict=True):
            same += (mine[:, None] == other[None, :]).view(np.int8)
        differing = 1.0 - same.astype(np.float32) / max(ours.codes.shape[1], 1)
        # |a - b|² = |a|² + |b|² - 2 a·b: one product of matrices. Rounding may leave it below 0.
        left, right = (points.features.astype(np.float32) for points in (ours, theirs))
        lengths = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :]
        squared = lengths - 2.0 * left @ right.T
        return cls(differing, np.maximum(squared, 0.0) / max(left.shape[1], 1))

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
        noise: σ², variance of a result's noise, relative to the process's own.
    """

    shares: Floats
    code_length: float
    feature_length: float
    noise: float

    def __call__(self, far: Distances) -> Floats:
        """Returns covariances, in units of the process's own variance.

        With d, the share of decisions that differ, and r², the squared distance of features:

            k = w₁ (1 - d) + w₂ exp(-d / ℓ) + w₃ exp(-r² / 2λ²) + w₄ exp(-r² / 2(4λ)²)
        """
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


def fit_kernel(far: Distances, values: Floats, noises: Floats, rng: np.random.Generator) -> Kernel:
    """Returns the kernel of the highest evidence among some that are drawn, then improved.

    Args:
        far: distances among N candidates.
        values: (N,) results y, with mean 0.
        noises: (N,) further variance of single results, relative to `values`' own.
        rng: draws the kernels.
    """

    def evidence(kernel: Kernel) -> float:
        # log p(y) = -½ (yᵀ (sC)⁻¹ y + log |sC| + N log 2π) with C = K + σ² is highest at
        # s = yᵀ C⁻¹ y / N. There, but for a constant, it is -½ (N log s + log |C|).
        covariance = _noisy_covariance(kernel, far, noises)
        scale = float(values @ np.linalg.solve(covariance, values)) / len(values)
        log_determinant = 2.0 * float(np.log(np.diag(np.linalg.cholesky(covariance))).sum())
        return -0.5 * (len(values) * math.log(max(scale, 1e-12)) + log_determinant)

    # A random search over the whole range, then a climb: only what is better is stepped to.
    drawn = [(evidence(kernel), kernel) for kernel in (Kernel.draw(rng) for _ in range(STARTS))]
    best, kernel = max(drawn, key=lambda pair: pair[0])
    for _ in range(STEPS):
        other = kernel.near(rng)
        if (higher := evidence(other)) > best:
            best, kernel = higher, other
    return kernel


def _noisy_covariance(kernel: Kernel, far: Distances, noises: Floats) -> Floats:
    """Returns C = K + σ² + diag(noises), (N, N)."""
    covariance = kernel(far)
    covariance[np.diag_indices_from(covariance)] += kernel.noise + noises
    return covariance


class GPRegressor:
    """A Gaussian process, conditioned on noisy values at some points.

    Attributes:
        fitted: (N,) expected values at these points.
    """

    def __init__(
        self, points: Points, far: Distances, values: Floats, noises: Floats, kernel: Kernel
    ) -> None:
        """Conditions on values.

        Args:
            points: the N points.
            far: distances among them.
            values: (N,) values y there, with mean 0.
            noises: (N,) further variance of single values, relative to `values`' own.
            kernel: gives the covariances.
        """
        self.points, self.kernel = points, kernel
        # α = C⁻¹ y, s = yᵀ α / N, and K α = y - (σ² + noises) α: equations 2.25 and 5.8.
        self.inverse = np.linalg.inv(_noisy_covariance(kernel, far, noises))
        self.weights = self.inverse @ values
        self.scale = max(float(values @ self.weights) / len(values), 1e-12)
        self.fitted = values - (kernel.noise + noises) * self.weights

    def covariance(self, points: Points) -> Floats:
        """Returns the (M, N) covariances of M points with those of the values."""
        return self.kernel(Distances.between(points, self.points))


class Posterior:
    """What a process expects at M candidates, also once more values have come."""

    def __init__(self, process: GPRegressor, points: Points) -> None:
        """Does the part of the work that depends on the process's own values alone.

        Args:
            process: conditioned on its values.
            points: the M candidates.
        """
        self._process, self._points = process, points
        # Mean k*ᵀ α and variance 1 - k*ᵀ C⁻¹ k*: equations 2.25 and 2.26.
        cross = process.covariance(points)
        self._solved = cross @ process.inverse
        self._mean = cross @ process.weights
        self._variance = 1.0 - (self._solved * cross).sum(1)

    def conditioned(self, later: Points, values: Floats, noises: Floats) -> tuple[Floats, Floats]:
        """Returns the (M,) means and standard deviations, given further values.

        Args:
            later: L further points.
            values: (L,) what came out there; NaN where it hasn't come yet: that narrows the
                deviations only.
            noises: (L,) as for `GPRegressor`.
        """
        mean, variance = self._mean, self._variance
        if len(values):
            process = self._process
            # The process given its own values is a process again. Its covariances, of the M
            # candidates with the later points (S) and among these (V), are the prior ones less
            # what its values explain: k(a, b) - k(a, X) C⁻¹ k(X, b).
            cross = process.covariance(later)
            shared = process.kernel(Distances.between(self._points, later))
            shared -= self._solved @ cross.T
            own = _noisy_covariance(process.kernel, Distances.between(later, later), noises)
            own -= cross @ process.inverse @ cross.T
            # The variance falls by diag(S V⁻¹ Sᵀ), whatever the values will be.
            variance = variance - (np.linalg.solve(own, shared.T).T * shared).sum(1)
            # The mean moves by S V⁻¹ (y - mean there), over the values that have come.
            arrived = np.flatnonzero(~np.isnan(values))
            surprise = values[arrived] - cross[arrived] @ process.weights
            weights = np.linalg.solve(own[np.ix_(arrived, arrived)], surprise)
            mean = mean + shared[:, arrived] @ weights
        return mean, np.sqrt(self._process.scale * np.maximum(variance, 1e-9))
