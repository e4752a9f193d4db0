"""The front against its definition, the hypervolume against counted cells and hand-worked cases."""

from __future__ import annotations

import itertools
import math
import operator
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.pareto import hypervolume, hypervolume_over_time, pareto_front, reference_point
from nas.study.trial import Record, Status

POINT = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2))
SIDE = 6


@given(st.lists(POINT, max_size=12), st.integers(1, 3))
def test_front_is_what_the_definition_says(points: list[tuple[int, ...]], axes: int) -> None:
    points = [point[:axes] for point in points]

    def dominated(p: tuple[int, ...]) -> bool:
        return any(all(map(operator.ge, q, p)) and q != p for q in points)

    assert pareto_front(points) == [i for i, p in enumerate(points) if not dominated(p)]


def test_a_nan_neither_dominates_nor_is_dominated() -> None:
    points = [(1.0, math.nan), (2.0, 2.0), (1.0, 1.0), (math.nan, 0.0), (1.0, math.nan)]
    assert pareto_front(points) == [0, 1, 3, 4]


def test_the_front_of_ten_thousand_points_takes_no_time() -> None:
    rng = random.Random(0)
    points = [(rng.randrange(1000), rng.randrange(1000)) for _ in range(10_000)]
    start = time.process_time()
    assert pareto_front([*points, *points[:1] * 10_000])
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([], (0, 0), 0),
        ([(3,), (2,)], (1,), 2),
        ([(2, 3)], (0, 0), 6),
        ([(3, 1), (2, 2), (1, 3)], (0, 0), 6),  # a staircase of three steps
        ([(3, 1), (2, 2), (1, 3), (2, 2), (1, 1)], (0, 0), 6),
        ([(3, 1), (2, 2), (1, 3)], (-1, -1), 13),  # an L of 1 × 4 and 3 × 1 more
        ([(3, 0), (0, 3), (-1, 9)], (0, 0), 0),  # on its edge, or outside
        ([(1, 1, 1)], (0, 0, 0), 1),
        ([(2, 1, 1), (1, 2, 1), (1, 1, 2)], (0, 0, 0), 4),  # a cube and one more on three faces
        ([(2, 2, 1), (1, 1, 2)], (0, 0, 0), 5),
        ([(0.5, -30e6)], (0, -40e6), 5e6),
    ],
)
def test_hypervolume_by_hand(
    points: Sequence[Sequence[float]], reference: Sequence[float], volume: float
) -> None:
    assert hypervolume(points, reference) == pytest.approx(volume)


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_hypervolume_is_the_number_of_covered_cells(axes: int) -> None:
    rng = random.Random(axes)
    cells = np.array(list(itertools.product(range(SIDE), repeat=axes)))
    for count in (1, 2, 5, 20):
        points = [[rng.randint(0, SIDE) for _ in range(axes)] for _ in range(count)]
        covered = (cells[:, None] < np.array(points)[None]).all(-1).any(-1).sum()
        assert hypervolume(points, [0] * axes) == covered


def row(number: int, score: float | None, size: float, **changes: object) -> Record:
    """A trial that was told in the order of its number; without a score it failed."""
    record = Record(
        number=number,
        arm="controller",
        source="controller",
        phase="search",
        code=(number,),
        key=str(number),
        seed=number,
        status=Status.FAILED if score is None else Status.DONE,
        tell_seq=2 * number + 1,
        costs={"size": size},
        metrics={} if score is None else {"score": score},
        failure=Failure(FailureKind.ERROR, "broken") if score is None else None,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


ROWS = [
    row(0, 0.2, 6),
    row(1, None, 1),
    row(2, 0.4, 8),
    row(3, 0.3, 9),  # dominated
    row(4, 0.9, 1, phase="finalist"),
    row(5, 0.9, 1, tell_seq=None),
    row(6, 0.9, 1, cached_from=2, charged=False),
    row(7, 0.1, 2),
]


def test_the_course_counts_trials_that_cost_budget() -> None:
    objective = ObjectiveSettings(maximize="score", limits={"size": 10})
    assert reference_point(ROWS, objective) == (0, -10)
    course = hypervolume_over_time(ROWS, objective)
    # 0.2 · 4; the failure adds none; 0.4 · 2 + 0.2 · 2; none; 0.1 · 4 more.
    assert course == pytest.approx([0.8, 0.8, 1.2, 1.2, 1.6])
    assert hypervolume_over_time(reversed(ROWS), objective) == course


def test_without_a_limit_the_worst_seen_is_the_reference() -> None:
    objective = ObjectiveSettings(maximize="score", minimize=("size",))
    assert reference_point(ROWS, objective) == (0, -9)
    assert reference_point([row(0, -2.0, 6)], objective) == (-2, -6)
    assert hypervolume_over_time(ROWS, objective)[0] == pytest.approx(0.6)
    assert hypervolume_over_time(ROWS, objective, (0.1, -7))[-1] == pytest.approx(0.1)
    assert hypervolume_over_time([ROWS[1]], objective) == [0.0]
    assert hypervolume_over_time([], objective) == []
