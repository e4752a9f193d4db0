"""The fit: from times of pieces and networks to what each term of an operator takes.

No weight is below 0, for nothing makes a network quicker by being there. Errors count relative to
the time, and not squared, so that neither large pieces nor disturbed ones decide.
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

from nas.cost.latency.features import Machine, Term, family, terms
from nas.genome.operators import Operator

Array = NDArray[np.float64]

MACHINES = tuple(product((1, 8, 16, 32), (2**18, 2**20, 2**22)))
"""Channel blocks and near bytes that are tried; a network left out decides."""
FOLDS = 5
ROUNDS = 6
"""Of weighing again: least squares become least absolute errors."""
SMALL_ERROR = 0.03
SMALL_MS = 0.02
"""Below, a clock's own noise weighs more than what is timed."""


class Timed(NamedTuple):
    """How long something took, and which operators it has how often.

    Attributes:
        whole: whether it is a network, not a piece of one.
    """

    operators: Mapping[Operator, int]
    ms: float
    whole: bool


class Fit(NamedTuple):
    """What a device's times came to.

    Attributes:
        machine: that told networks' times best.
        ms: what a term takes, by family and term; terms that take nothing are left out.
        piece_error, network_error: medians of the absolute relative errors where a model that
            hasn't seen it tells a time; None without any.
    """

    machine: Machine
    ms: dict[str, dict[Term, float]]
    piece_error: float | None
    network_error: float | None


def fit(times: Sequence[Timed]) -> Fit:
    """Fits the weights, and tells by cross-validation how well they tell times."""
    fits = [(*_errors(times, Machine(*machine)), Machine(*machine)) for machine in MACHINES]
    networks, pieces, machine = min(fits, key=lambda one: (_middle(one[0] or one[1]), one[2]))
    design, columns = _design(times, machine)
    weights = _weights(design, _ms(times))
    ms: dict[str, dict[Term, float]] = {family(op): {} for one in times for op in one.operators}
    for (name, term), weight in zip(columns, weights, strict=True):
        if weight > 0:
            ms[name][term] = float(weight)
    return Fit(machine, ms, _middle(pieces), _middle(networks))


def _middle(errors: Sequence[float]) -> float | None:
    return statistics.median(errors) if errors else None


def _errors(times: Sequence[Timed], machine: Machine) -> tuple[list[float], list[float]]:
    """Absolute relative errors, of networks and of pieces, each left out of its fit."""
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


def _ms(times: Sequence[Timed]) -> Array:
    return np.array([one.ms for one in times])


def _design(times: Sequence[Timed], machine: Machine) -> tuple[Array, list[tuple[str, Term]]]:
    """A row for each time, a column for each term of a family."""
    rows: list[Counter[tuple[str, Term]]] = []
    for one in times:
        row: Counter[tuple[str, Term]] = Counter()
        for operator, count in one.operators.items():
            for term, value in terms(operator, machine).items():
                row[family(operator), term] += count * value  # type: ignore[assignment]
        rows.append(row)
    columns = sorted({column for row in rows for column in row})
    return np.array([[row[column] for column in columns] for row in rows], dtype=float), columns


def _weights(design: Array, ms: Array) -> Array:
    """Weights of least absolute relative errors, none below 0."""
    scale = design.max(axis=0)
    scale[scale == 0] = 1.0
    even = 1 / (ms + SMALL_MS)
    row = even
    for _ in range(ROUNDS):
        solution, _ = nnls(design / scale * row[:, None], ms * row, maxiter=30 * len(scale))
        errors = np.abs(design / scale @ solution - ms) * even
        row = even / np.sqrt(np.maximum(errors, SMALL_ERROR))
    return solution / scale
