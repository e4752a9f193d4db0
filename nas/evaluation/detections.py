"""Detections on a split: their form, and what can't be judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError

if TYPE_CHECKING:
    from nas.data.coco import Split

ImageDetections = Mapping[str, NDArray[Any]]
"""boxes (n, 4) xyxy in original pixels, labels (n,) from 1, scores (n,)."""
Detections = Mapping[int, ImageDetections]
"""By image id; an image without an entry has no detections."""


def check(split: Split, detections: Detections) -> None:
    """Refuses detections that can't be judged.

    Raises:
        DataError: Names the image and what is wrong with it.
    """
    unknown = detections.keys() - {image.id for image in split.images}
    if unknown:
        raise DataError(f"detections for image {min(unknown)}, which {split.name} doesn't hold")
    number = len(split.categories)
    for image_id, own in detections.items():
        labels = np.asarray(own["labels"])
        if len(labels) and not 1 <= labels.min() <= labels.max() <= number:
            raise DataError(f"detections for image {image_id} have labels outside 1..{number}")
        if not (np.isfinite(own["boxes"]).all() and np.isfinite(own["scores"]).all()):
            raise DataError(f"detections for image {image_id} hold numbers that aren't finite")


def xywh(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Corners (n, 4) to corner, width and height (n, 4), as COCO writes boxes."""
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
