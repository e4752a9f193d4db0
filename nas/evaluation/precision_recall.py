"""Precision against recall: of each class at IoU 0.5, and the mean over classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.data.coco import class_names
from nas.evaluation.ap import RECALLS
from nas.evaluation.detections import Detections
from nas.evaluation.matching import AREAS, IOUS, match_classes

if TYPE_CHECKING:
    from nas.data.coco import Split

MEANS = (0.5, 0.75)
"""The IoU of the mean curves."""


@dataclass(frozen=True)
class Curves:
    """Precision at each of `RECALLS`, (101,), as COCO counts: the best at that recall or above.

    Attributes:
        per_class: At IoU 0.5, by name; a class without boxes isn't there.
        means: Over the classes with boxes, by IoU; all NaN if there is none.
    """

    per_class: dict[str, NDArray[np.float64]]
    means: dict[float, NDArray[np.float64]]


def precision_recall(split: Split, detections: Detections) -> Curves:
    """Returns the curves of detections on a split.

    Raises:
        DataError: A detection of an unknown image or class, or with a number that isn't finite.
    """
    named = {
        name: matches
        for name, matches in zip(
            class_names(split), match_classes(split, detections, AREAS[:1]), strict=True
        )
        if matches.boxes.any()
    }
    means = {}
    for iou in MEANS:
        threshold = int(np.flatnonzero(iou == IOUS)[0])
        each = [matches.precision(threshold) for matches in named.values()]
        means[iou] = np.mean(each, axis=0) if each else np.full(len(RECALLS), np.nan)
    return Curves({name: matches.precision(0) for name, matches in named.items()}, means)
