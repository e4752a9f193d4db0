"""The fit: from times of samples and networks to what each feature of an operator takes.

No weight is below 0, for nothing makes a network quicker by being there. Errors count relative to
the time, and not squared, so that neither large samples nor disturbed ones decide.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from nas.cost.latency.features import Feature, Machine, family, latency_features
from nas.genome.operators import Operator

Array = NDArray[np.float64]

MACHINES = tuple(product((1, 8, 16, 32), (2**18, 2**20, 2**22)))
"""Channel blocks and near bytes that are tried; networks left out of the fit decide."""
FOLDS = 5
ROUNDS = 6
"""Rounds of weighing again, in which least squares become least absolute errors."""
SMALL_ERROR, SMALL_MS = 0.03, 0.02
"""A relative error, and a time, below which a clock's noise weighs more than what is timed."""


class TimedSample(NamedTuple):
    """The time of a sample or network, and how often it has which operator.

    Attributes:
        whole: whether it is a network, not a sample of one.
    """

    operators: Mapping[Operator, int]
    ms: float
    whole: bool


class FittedWeights(NamedTuple):
    """The weights that a device's times were fitted with.

    Attributes:
        machine: that predicted networks' times best.
        ms: milliseconds a feature takes, by family and feature; those that take nothing are left
            out.
        sample_error: median of the absolute relative errors of samples that were left out of a
            fit; None without any.
        network_error: the same of networks.
    """

    machine: Machine
    ms: dict[str, dict[Feature, float]]
    sample_error: float | None
    network_error: float | None


def fit_weights(times: Sequence[TimedSample]) -> FittedWeights:
    """Fits the weights, and measures by cross-validation how well they predict times."""
    # Each machine is fitted with a fold left out; the one that predicts networks best is taken,
    # and the smallest of those that are equal.
    fits = [(*_errors(times, Machine(*machine)), Machine(*machine)) for machine in MACHINES]
    networks, samples, machine = min(fits, key=lambda one: (_median(one[0] or one[1]), one[2]))
    # The weights themselves come from all times.
    design, columns = _design(times, machine)
    weights = _weights(design, _ms(times))
    ms: dict[str, dict[Feature, float]] = {family(op): {} for one in times for op in one.operators}
    for (name, feature), weight in zip(columns, weights, strict=True):
        if weight > 0:
            ms[name][feature] = float(weight)
    return FittedWeights(machine, ms, _median(samples), _median(networks))


def _median(errors: Sequence[float]) -> float | None:
    return statistics.median(errors) if errors else None


def _errors(times: Sequence[TimedSample], machine: Machine) -> tuple[list[float], list[float]]:
    """Returns absolute relative errors of networks and of samples, each left out of its fit."""
    design, _ = _design(times, machine)
    ms, fold = _ms(times), np.arange(len(times)) % FOLDS
    errors: tuple[list[float], list[float]] = ([], [])
    for left_out in range(FOLDS):
        out = np.flatnonzero(fold == left_out)
        kept = fold != left_out
        if kept.any():
            predicted = design[out] @ _weights(design[kept], ms[kept])
            for i, one in zip(out.tolist(), predicted, strict=True):
                errors[0 if times[i].whole else 1].append(abs(float(one) / float(ms[i]) - 1))
    return errors


def _ms(times: Sequence[TimedSample]) -> Array:
    return np.array([one.ms for one in times])


def _design(
    times: Sequence[TimedSample], machine: Machine
) -> tuple[Array, list[tuple[str, Feature]]]:
    """Returns a row for each time, a column for each feature of a family, and the columns."""
    rows: list[Counter[tuple[str, Feature]]] = []
    for one in times:
        row: Counter[tuple[str, Feature]] = Counter()
        for operator, count in one.operators.items():
            for feature, value in latency_features(operator, machine).items():
                row[family(operator), feature] += count * value  # type: ignore[assignment]
        rows.append(row)
    columns = sorted({column for row in rows for column in row})
    return np.array([[row[column] for column in columns] for row in rows], dtype=float), columns


def _weights(design: Array, ms: Array) -> Array:
    """Returns weights of least absolute relative errors, none below 0, `(columns,)`.

    Args:
        design: `(times, columns)`.
        ms: `(times,)`.
    """
    # Columns have very different sizes: without a scale, least squares is ill-conditioned.
    scale = design.max(axis=0)
    scale[scale == 0] = 1.0
    even = 1 / (ms + SMALL_MS)  # makes an error relative
    row = even
    for _ in range(ROUNDS):
        solution, _ = nnls(design / scale * row[:, None], ms * row, maxiter=30 * len(scale))
        # Iteratively reweighted: e²/|e| = |e|, so squares weighted by 1/|e| are absolute errors.
        errors = np.abs(design / scale @ solution - ms) * even
        row = even / np.sqrt(np.maximum(errors, SMALL_ERROR))
    return solution / scale
