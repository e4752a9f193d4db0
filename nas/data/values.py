"""Values of an annotation file, whatever type the tool that wrote it gave them.

A value is taken where it can mean only one thing: 1, 1.0, "1" and "1.0" are the whole number 1.
Everything else is told apart from it, so that nothing is read as something that it isn't. Whole
columns are looked at first: one of plain numbers, as COCO's own are, needs no care.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

_LARGEST_ID = 2**63
_LARGEST_EXACT = 2**53  # floats beyond have lost their last digits
_WHOLE = re.compile(r"([+-]?[0-9]{1,19})(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

_echo = reprlib.Repr()
_echo.maxstring, _echo.maxlong, _echo.maxother = 80, 40, 40


def echo(value: Any) -> str:
    """Returns a value as it stands in the file, short enough for a line."""
    return _echo.repr(value)


def whole(value: Any) -> int | None:
    """Returns the one whole number that a value can mean: of 7, 7.0, "7", "007" and "7.0", 7.

    None stands for all else: a bool, a fraction, NaN, a word, a list, or what int64 doesn't hold.
    """
    if type(value) is str:
        match = _WHOLE.fullmatch(value.strip())
        value = int(match[1]) if match else None
    elif type(value) is float:
        exact = math.isfinite(value) and value.is_integer() and abs(value) <= _LARGEST_EXACT
        value = int(value) if exact else None
    return value if type(value) is int and abs(value) < _LARGEST_ID else None


def number(value: Any) -> float | None:
    """Returns the one number that a value can mean: of 7, 7.0 and "7", 7.0.

    NaN and the infinities, which JSON's readers let through, are numbers here. None stands for
    all else, such as a bool, a word, or "1,5".
    """
    if type(value) is float:
        return value
    if type(value) is str and _NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        return float(value) if type(value) is int else None
    except OverflowError:
        return None


def flag(value: Any) -> bool | None:
    """Returns whether a flag is set: 1, 1.0, True, "1" or "true"; None if it could be either."""
    if type(value) is str:
        return _FLAGS.get(value.strip().lower())
    return bool(value) if type(value) in (int, float, bool) and value in (0, 1) else None


def wholes(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a column as int64 (N,), and where it really holds a whole number (N,)."""
    if set(map(type, values)) <= {int}:
        try:
            return np.array(values, dtype=np.int64), np.ones(len(values), dtype=bool)
        except OverflowError:
            pass
    read = [whole(value) for value in values]
    good = np.array([value is not None for value in read], dtype=bool)
    return np.array([value or 0 for value in read], dtype=np.int64), good


def numbers(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a column as float64 (N,), NaN where there is no number, and where there is (N,)."""
    if set(map(type, values)) <= {int, float}:
        try:
            return np.array(values, dtype=np.float64), np.ones(len(values), dtype=bool)
        except OverflowError:
            pass
    read = [number(value) for value in values]
    good = np.array([value is not None for value in read], dtype=bool)
    return np.array([math.nan if v is None else v for v in read], dtype=np.float64), good


def flags(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a column of flags as bool (N,), and where each can mean only one thing (N,)."""
    if set(map(type, values)) <= {int} and set(values) <= {0, 1}:
        return np.array(values, dtype=bool), np.ones(len(values), dtype=bool)
    read = [flag(value) for value in values]
    good = np.array([value is not None for value in read], dtype=bool)
    return np.array([bool(value) for value in read], dtype=bool), good


def quadruples(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 (N, 4), and where there really are four numbers (N,); zeros elsewhere."""
    if set(map(type, values)) <= {list} and set(map(len, values)) <= {4}:
        flat, good = numbers(list(chain.from_iterable(values)))
        whole_rows = np.asarray(good.reshape(-1, 4).all(axis=1))
        return np.where(whole_rows[:, None], flat.reshape(-1, 4), 0), whole_rows
    rows = np.array([type(value) is list and len(value) == 4 for value in values], dtype=bool)
    boxes = np.zeros((len(values), 4))
    boxes[rows], rows[rows] = quadruples([v for v, ok in zip(values, rows, strict=True) if ok])
    return boxes, rows
