"""The box around a segmentation, for annotations that have no bbox."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.data.values import numbers, wholes

_MOST_PIXELS = 100_000_000


def box_of(segmentation: Any) -> list[float] | None:
    """Returns x, y, width and height of the box around a segmentation; None if it isn't one.

    Args:
        segmentation: COCO's: polygons `[[x, y, x, y, …], …]`, one polygon without the outer list,
            or a run-length code `{"size": [h, w], "counts": …}`, compressed (text) or not.
    """
    if isinstance(segmentation, dict):
        return _run_length_box(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    nested = all(isinstance(part, list) for part in segmentation)
    polygons = segmentation if nested else [segmentation]
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        return None
    flat, good = numbers([value for polygon in polygons for value in polygon])
    if not good.all() or not np.isfinite(flat).all():
        return None
    points = flat.reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(over="ignore"):
        return [*low.tolist(), *(high - low).tolist()]


def _run_length_box(code: dict[str, Any]) -> list[float] | None:
    """Returns the box of the pixels set, as pycocotools' `toBbox` has it."""
    size, counts = code.get("size"), code.get("counts")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(size, list) or len(size) != 2 or not isinstance(runs, list):
        return None
    (sides, sides_good), (lengths, good) = wholes(size), wholes(runs)
    height, width = (int(side) for side in sides)
    if not (sides_good.all() and good.all() and min(height, width) > 0 and len(lengths)):
        return None
    # Bounded before they are summed: the sum of hostile lengths would overflow.
    if height * width > _MOST_PIXELS or lengths.min() < 0 or lengths.max() > height * width:
        return None
    ends = np.cumsum(lengths)
    if ends[-1] != height * width:
        return None
    # Runs of zeros and ones take turns, down one column of the mask after another.
    first, last = (ends - lengths)[1::2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return None
    left, right = int((first // height).min()), int((last // height).max())
    whole_columns = bool((first // height != last // height).any())
    top = 0 if whole_columns else int((first % height).min())
    bottom = height - 1 if whole_columns else int((last % height).max())
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def _decompressed(text: str) -> list[int] | None:
    """Decodes the runs of COCO's compressed code; None if it is damaged.

    Each run is written to the base 32 in signed digits, from the third on as the difference to the
    run before the last (pycocotools, `common/maskApi.c`, `rleFrString`). It is read here, since
    that reader runs past the end of a code that was cut short.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 60:
            return None
        value |= (digit & 0x1F) << shift  # five bits a character, the lowest first
        shift += 5
        if not digit & 0x20:  # the sixth bit: more characters follow
            if digit & 0x10:  # the highest of the five: the number is negative
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
