"""What a value of any type can mean, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nas.data.values import flag, flags, number, numbers, quadruples, whole, wholes

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [7, 7.0, "7", "7.0", "7.", "007", "+7", " 7 ", "7\n"], ids=repr)
def test_ways_of_writing_a_whole_number(value: Any) -> None:
    assert whole(value) == 7
    assert type(whole(value)) is int
    assert number(value) == 7


NO_WHOLE: list[Any] = [None, True, False, NAN, INF, 7.5, "7.5", "", "x", "7x", "7,0", "7e0", [7]]
NO_WHOLE += [{}, 2**63, -(2**63), 1e300, str(2**63), "9" * 500, "٧", "7 7", 2.0**60]


@pytest.mark.parametrize("value", NO_WHOLE, ids=lambda value: repr(value)[:20])
def test_what_is_no_whole_number(value: Any) -> None:
    assert whole(value) is None


@pytest.mark.parametrize("value", [None, True, "", "x", "nan", "inf", "1,5", [1], {}, 10**400, "٧"])
def test_what_is_no_number(value: Any) -> None:
    assert number(value) is None


def test_numbers_as_text() -> None:
    assert [number(v) for v in ("1.5", "-2", ".5", "5.", "1e3", " 4 ")] == [1.5, -2, 0.5, 5, 1e3, 4]
    value = number(NAN)
    assert value is not None
    assert math.isnan(value)


def test_flags() -> None:
    for value in (1, 1.0, True, "1", "1.0", "true", "True", " TRUE "):
        assert flag(value) is True
    for value in (0, 0.0, -0.0, False, "0", "0.0", "false"):
        assert flag(value) is False
    odd: list[Any] = [None, NAN, INF, 2, -1, 0.5, "", "maybe", "2", [], [1], {}, 10**400]
    assert [flag(value) for value in odd] == [None] * len(odd)


def test_columns_say_where_they_hold_what_was_asked_for() -> None:
    ids, good = wholes([1, "2", None, 4.0, 2**70])
    assert ids.tolist() == [1, 2, 0, 4, 0]
    assert good.tolist() == [True, True, False, True, False]
    values, good = numbers([1, "2.5", [], 10**400])
    assert values[:2].tolist() == [1, 2.5]
    assert good.tolist() == [True, True, False, False]
    crowd, good = flags([0, "1", None])
    assert crowd.tolist() == [False, True, False]
    assert good.tolist() == [True, True, False]


@pytest.mark.parametrize("column", [wholes, numbers, flags, quadruples])
def test_empty_columns(column: Any) -> None:
    values, good = column([])
    assert len(values) == len(good) == 0


def test_quadruples_among_other_things() -> None:
    rows: list[Any] = [[1, 2, 3, 4], ["1", 2.5, 3, 4], [1, 2, 3], None, "1234", [1, 2, 3, True]]
    boxes, good = quadruples(rows)
    assert good.tolist() == [True, True, False, False, False, False]
    assert boxes[:2].tolist() == [[1, 2, 3, 4], [1, 2.5, 3, 4]]
    assert np.all(boxes[2:] == 0)
