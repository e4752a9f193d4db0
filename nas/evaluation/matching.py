"""Which detections hit: COCO's greedy matching, an image at a time, in numpy.

The same rules as pycocotools' `COCOeval` for all areas and 100 detections an image and class,
several times faster because most pairs of image and class have detections but no box. What it
gives is kept per image, so that images can be weighted or drawn again without matching anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

if TYPE_CHECKING:
    from nas.data.coco import Image, Split

IOUS = np.linspace(0.5, 0.95, 10)  # as COCOeval's Params has them, to the bit
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100

Found = Mapping[str, NDArray[Any]]
"""boxes (n, 4) xyxy in original pixels, labels (n,) from 1, scores (n,)."""
Detections = Mapping[int, Found]
"""By image id; an image without an entry has no detections."""


@dataclass(frozen=True)
class ClassMatches:
    """One class's detections over all images, by falling score; T is len(IOUS).

    Attributes:
        rows: (n,) position of the image in the split.
        hits: (T, n) it matched a box, or a crowd.
        counted: (T, n) it is right or wrong; False where it matched a crowd.
        boxes: (images,) number of boxes to be found in each image.
    """

    rows: NDArray[np.intp]
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    boxes: NDArray[np.int64]

    def average_precision(
        self, threshold: int, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Returns the mean of precision over `RECALLS`, (D,); NaN where no box is to be found.

        Args:
            threshold: which of `IOUS`.
            weights: (D, images), how often each image counts in D redrawn splits; None counts
                each once, D = 1.
        """
        if weights is None:
            weights = np.ones((1, len(self.boxes)))
        hit, counted = self.hits[threshold], self.counted[threshold]
        at = np.flatnonzero(hit & counted)  # recall rises, and precision peaks, only there
        end = at[-1] + 1 if len(at) else 0
        each = weights[:, self.rows[:end]]
        wrong = np.cumsum(each * (~hit & counted)[:end], axis=1)[:, at]
        right = np.cumsum(each[:, at], axis=1)
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total = weights @ self.boxes
        with np.errstate(invalid="ignore", divide="ignore"):
            reached = np.searchsorted(RECALLS, right / total[:, None], side="right")
        points = np.diff(reached, axis=1, prepend=0)  # of RECALLS, that each hit is first to reach
        return np.where(total > 0, (best * points).sum(axis=1) / len(RECALLS), np.nan)


def match_classes(split: Split, detections: Detections) -> list[ClassMatches]:
    """Matches all images; returns an entry for each class, label 1 first."""
    number = len(split.categories)
    boxes = np.zeros((number, len(split.images)), dtype=np.int64)
    none = np.zeros((len(IOUS), 0), dtype=bool)
    nobody, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    parts: list[tuple[NDArray[Any], ...]] = [(nobody, nobody, nothing, none, none)]
    # ties of score fall by image id, as COCOeval's do
    for row in sorted(range(len(split.images)), key=lambda row: split.images[row].id):
        image = split.images[row]
        boxes[:, row] = np.bincount(image.labels[~image.crowd] - 1, minlength=number)
        found = detections.get(image.id)
        if found is not None and len(found["scores"]):
            labels, scores, hits, counted = match_image(image, found)
            parts.append((np.full(len(labels), row), labels, scores, hits, counted))
    joined = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    rows, labels, scores, hits, counted = joined
    order = np.lexsort((-scores, labels))
    edges = np.searchsorted(labels[order], np.arange(1, number + 2))
    return [
        ClassMatches(rows[own], hits[:, own], counted[:, own], boxes[k])
        for k in range(number)
        for own in [order[edges[k] : edges[k + 1]]]
    ]


def match_image(image: Image, found: Found) -> tuple[NDArray[Any], ...]:
    """Returns labels (n,), scores (n,), hits and counted (T, n), by falling score.

    Of each class the best `MAX_DETECTIONS` are kept.
    """
    order = np.argsort(-np.asarray(found["scores"], dtype=np.float64), kind="mergesort")
    labels = np.asarray(found["labels"])[order]
    if len(labels) > MAX_DETECTIONS:
        kept = [np.flatnonzero(labels == one)[:MAX_DETECTIONS] for one in np.unique(labels)]
        inside = np.sort(np.concatenate(kept))
        order, labels = order[inside], labels[inside]
    hits = np.zeros((len(IOUS), len(order)), dtype=bool)
    counted = np.ones_like(hits)
    for label in np.intersect1d(labels, image.labels):
        own = np.flatnonzero(labels == label)
        truth = np.flatnonzero(image.labels == label)
        crowd = image.crowd[truth]
        ious = mask.iou(
            xywh(found["boxes"])[order[own]], xywh(image.boxes)[truth], crowd.astype(np.uint8)
        )
        best = ious.max()
        for t, threshold in enumerate(IOUS):
            if best >= threshold:
                hits[t, own], counted[t, own] = _match_pairs(ious, crowd, threshold)
    return labels, np.asarray(found["scores"], dtype=np.float64)[order], hits, counted


def _match_pairs(
    ious: NDArray[np.float64], crowd: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Gives each detection, best first, the free box of highest IoU, or else a crowd."""
    hits, counted = np.zeros(len(ious), dtype=bool), np.ones(len(ious), dtype=bool)
    taken = np.zeros(len(crowd), dtype=bool)
    for d in np.flatnonzero(ious.max(axis=1) >= threshold):
        free = np.flatnonzero((ious[d] >= threshold) & ~taken & ~crowd)
        crowds = np.flatnonzero((ious[d] >= threshold) & crowd)
        if len(free):
            best = free[::-1][ious[d, free[::-1]].argmax()]  # COCOeval: of equals, the last
            taken[best] = hits[d] = True
        elif len(crowds):
            hits[d], counted[d] = True, False
    return hits, counted


def xywh(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Corners (n, 4) to corner, width and height (n, 4), as COCO writes boxes."""
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
