"""Boxes around segmentations, against pycocotools."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from pycocotools import mask as reference

from nas.data.segments import box_of


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    made = [(rng.random((13, 17)) < share).astype(np.uint8) for share in (0.02, 0.1, 0.5, 0.95)]
    for top, left, bottom, right in ((2, 3, 9, 8), (0, 0, 13, 17), (0, 5, 13, 6), (12, 16, 13, 17)):
        one = np.zeros((13, 17), dtype=np.uint8)
        one[top:bottom, left:right] = 1
        made.append(one)
    wide = np.zeros((300, 500), dtype=np.uint8)
    wide[100:290, 40:333] = 1
    return [*made, wide]


def uncompressed(mask: np.ndarray) -> list[int]:
    """Lengths of runs of zeros and ones down the columns, zeros first."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), len(flat)]).tolist()
    return runs if flat[0] == 0 else [0, *runs]


@pytest.mark.parametrize("mask", masks())
def test_run_length_codes(mask: np.ndarray) -> None:
    code = reference.encode(np.asfortranarray(mask))
    expected = reference.toBbox(code).tolist()
    size = list(mask.shape)
    assert box_of({"size": size, "counts": code["counts"].decode()}) == expected
    assert box_of({"size": size, "counts": uncompressed(mask)}) == expected


def test_polygons() -> None:
    assert box_of([[10, 5, 30, 5, 30.5, 17, 10, 16]]) == [10, 5, 20.5, 12]
    assert box_of([[10, 5, 30, 5, 30, 17], [2, 40, 3, 41, 2, 44]]) == [2, 5, 28, 39]
    assert box_of([10, 5, 30, 5, 30, 17]) == [10, 5, 20, 12]
    assert box_of([["10", "5", "30", "5", "30", "17"]]) == [10, 5, 20, 12]


SQUARE: dict[str, Any] = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}
MALFORMED: list[Any] = [None, 3, "x", [], {}, [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]]]
MALFORMED += [[[1, 2, 3, 4, 5, "x"]], [[1, 2, 3, 4, 5, float("nan")]], [[1, 2, 3, 4, 5, None]]]
MALFORMED += [
    {**SQUARE, **cast(dict[str, Any], change)}
    for change in (
        *({"size": size} for size in (None, [], [4], [4, 0], [-4, -4], [4, 5], [2**31, 2**31])),
        {"size": ["x", 4]},
        *({"counts": counts} for counts in (None, [], [16], [5, -2, 13], [5, "x"], [2**62, 2**62])),
        *({"counts": text} for text in ("", "P", "o", "oooooooooooooooooooo", "ÿ", "52", " ")),
    )
]


def test_the_square_itself_has_a_box() -> None:
    assert box_of(SQUARE) == [1, 1, 2, 2]


@pytest.mark.parametrize("segmentation", MALFORMED, ids=lambda value: repr(value)[:40])
def test_what_is_no_segmentation_has_no_box(segmentation: Any) -> None:
    assert box_of(segmentation) is None
