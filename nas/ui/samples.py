"""Sample pictures of a training: what it learns from, and what it finds on `val` in the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.data.batches import Batch
from nas.data.coco import Category, Split
from nas.data.resize import read_rgb, resize
from nas.evaluation.matching import Detections
from nas.ui.contact_sheet import side_by_side
from nas.ui.draw import draw_boxes

COUNT = 8
"""Pictures on a sheet."""
TILE = 320
"""Side in pixels of each."""
SCORE = 0.3
"""Detections below aren't drawn, as in `nas predict`."""


def learnt_from(batch: Batch, categories: Sequence[Category]) -> np.ndarray:
    """Draws the first pictures of a training batch with their boxes, both as augmented.

    Args:
        batch: A batch as the training gets it.
        categories: Label k is `categories[k - 1]`.

    Returns:
        A sheet uint8 (H, W, 3).
    """
    tiles = []
    for pixels, boxes, labels in zip(
        batch.images[:COUNT].permute(0, 2, 3, 1).contiguous().numpy(),
        batch.boxes[:COUNT].numpy(),
        batch.labels[:COUNT].numpy(),
        strict=True,
    ):
        square, place = resize(pixels, TILE, "letterbox")
        real = labels > 0
        texts = [categories[label - 1].name for label in labels[real]]
        tiles.append(draw_boxes(square, place.to_input(boxes[real]), texts, labels[real]))
    return side_by_side(tiles)


def found_on(split: Split, detections: Detections) -> np.ndarray:
    """Draws images of a split, spread evenly over it, with their detections.

    Args:
        split: Usually `val`.
        detections: By image id, boxes xyxy in original pixels.

    Returns:
        A sheet uint8 (H, W, 3).
    """
    shown = [image for image in split.images if image.id in detections]
    places = np.linspace(0, len(shown) - 1, min(COUNT, len(shown))).round().astype(int)
    tiles = []
    for image in (shown[place] for place in places):
        own = detections[image.id]
        sure = np.asarray(own["scores"]) >= SCORE
        boxes, labels = np.asarray(own["boxes"])[sure], np.asarray(own["labels"])[sure]
        texts = [
            f"{split.categories[label - 1].name} {score:.2f}"
            for label, score in zip(labels, np.asarray(own["scores"])[sure], strict=True)
        ]
        square, place = resize(read_rgb(image.path), TILE, "letterbox")
        tiles.append(draw_boxes(square, place.to_input(boxes), texts, labels))
    return side_by_side(tiles)
