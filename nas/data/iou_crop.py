"""SSD's random crop: a part of the photo that shows enough of at least one object.

The rules and numbers are those of torchvision's RandomIoUCrop (references/detection of
pytorch/vision, after arXiv 1512.02325 §2.2). It draws from torch's global generator, which threads
share; here each batch has its own, so that a batch stays a function of seed, epoch and step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from nas.data.resize import ResizeRule, content_size

OPTIONS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Least IoU of the crop with a box whose centre it holds; 1 leaves the photo as it is."""
TRIALS = 40
"""Crops tried before another option is drawn."""
SCALES = (0.3, 1.0)
"""Of the photo's width and of its height, drawn apart."""
ASPECTS = (0.5, 2.0)
"""Width by height of a crop."""


@dataclass(frozen=True, eq=False)
class IoUCrop:
    """The crops of a batch.

    Attributes:
        photos: int (B, 2), width and height in pixels of the photos.
        regions: int (B, 4), left, top, width, height of the crop in pixels of the photo.
        kept: bool (B, M); boxes whose centre lies outside their crop are left out.
    """

    photos: np.ndarray
    regions: np.ndarray
    kept: np.ndarray

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        photos: np.ndarray,
        content: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
    ) -> IoUCrop:
        """Draws a crop for each photo; one without boxes stays whole.

        Args:
            rng: Source of the draws.
            photos: int (B, 2), width and height in pixels of the photos.
            content: int (B, 2), what the photos take up in the cached pixels.
            boxes: float (B, M, 4), xyxy in cached pixels.
            labels: int (B, M); 0 pads.
        """
        regions = np.concatenate([np.zeros_like(photos), photos], axis=1)
        kept = labels > 0
        in_photo = boxes * np.tile(photos / content, (1, 2))[:, None]
        for position in np.flatnonzero(kept.any(axis=1)):
            real = np.flatnonzero(kept[position])
            crop = draw_crop(rng, photos[position], in_photo[position, real])
            if crop is not None:
                regions[position] = crop[0]
                kept[position, real] = crop[1]
        return cls(photos, regions, kept)

    def of(self, rows: slice) -> IoUCrop:
        """Returns the crops of some images of the batch."""
        return IoUCrop(self.photos[rows], self.regions[rows], self.kept[rows])

    def content(self, size: int, rule: ResizeRule) -> np.ndarray:
        """Returns width and height (B, 2) in pixels that the crops take up in inputs of `size`."""
        return np.array([content_size(w, h, size, rule) for w, h in self.regions[:, 2:].tolist()])

    @property
    def cropped(self) -> np.ndarray:
        """Which photos aren't whole, bool (B,)."""
        return (self.regions[:, 2:] != self.photos).any(axis=1)


def crop_pixels(
    pixels: np.ndarray, content: np.ndarray, crop: IoUCrop, rule: ResizeRule
) -> np.ndarray:
    """Crops images uint8 (B, S, S, 3) with content (B, 2), and fits them into the input again."""
    size = pixels.shape[1]
    out, new = np.array(pixels), crop.content(size, rule)
    ratio = np.tile(content / crop.photos, (1, 2))
    corners = np.concatenate([crop.regions[:, :2], crop.regions[:, :2] + crop.regions[:, 2:]], 1)
    parts = np.minimum(corners * ratio, np.tile(content, (1, 2)))
    for position in np.flatnonzero(crop.cropped):
        width, height = new[position]
        left, top, right, bottom = parts[position]
        rows, columns = slice(int(top), math.ceil(bottom)), slice(int(left), math.ceil(right))
        # Cut first: Pillow reads half a pixel beyond a box, and what is cropped away is no more.
        image = Pillow.fromarray(pixels[position, rows, columns]).resize(
            (int(width), int(height)),
            Pillow.Resampling.BILINEAR,
            box=(left % 1, top % 1, right - int(left), bottom - int(top)),
        )
        out[position] = 0
        out[position, :height, :width] = np.asarray(image)
    return out


def crop_boxes(
    boxes: np.ndarray,
    labels: np.ndarray,
    content: np.ndarray,
    crop: IoUCrop,
    size: int,
    rule: ResizeRule,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops boxes (B, M, 4) with labels (B, M); what is left out gets label 0."""
    side = crop.regions[:, 2:]
    start, limit = (np.tile(x, (1, 2))[:, None] for x in (crop.regions[:, :2], side))
    to_photo = np.tile(crop.photos / content, (1, 2))[:, None]
    to_input = np.tile(crop.content(size, rule) / side, (1, 2))[:, None]
    moved = (np.clip(boxes * to_photo - start, 0, limit) * to_input).astype(np.float32)
    moved = np.where(crop.cropped[:, None, None], moved, boxes)
    return np.where(crop.kept[..., None], moved, np.float32(0)), np.where(crop.kept, labels, 0)


def draw_crop(
    rng: np.random.Generator, photo: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Draws a crop of a photo; None leaves the photo as it is.

    Args:
        rng: Source of the draws.
        photo: (2,), width and height in pixels.
        boxes: (M, 4), xyxy in pixels of the photo; at least one.

    Returns:
        Left, top, width and height int (4,), and which boxes (M,) have their centre inside.
    """
    while True:
        least = OPTIONS[rng.integers(len(OPTIONS))]
        if least >= 1:
            return None
        for crop in _good(rng.random((TRIALS, 4)), photo, boxes, least):
            return crop


def _good(
    draws: np.ndarray, photo: np.ndarray, boxes: np.ndarray, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the crops that may be taken, in the order of their draws.

    Args:
        draws: float (T, 4) in [0, 1): for width, height, left, top.
        photo: (2,), width and height of the photo in pixels.
        boxes: (M, 4), xyxy in pixels of the photo.
        least: Least IoU with one of the boxes whose centre lies inside.

    Yields:
        Left, top, width and height (4,) of a crop, and which boxes (M,) have their centre in it.
    """
    sides = (photo * (SCALES[0] + (SCALES[1] - SCALES[0]) * draws[:, :2])).astype(np.int64)
    start = ((photo - sides) * draws[:, 2:]).astype(np.int64)
    stop = start + sides
    aspect = sides[:, 0] / np.maximum(1, sides[:, 1])
    fits = (sides > 0).all(axis=1) & (aspect >= ASPECTS[0]) & (aspect <= ASPECTS[1])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((start[:, None] < centres) & (centres < stop[:, None])).all(axis=-1)
    shared = np.minimum(stop[:, None], boxes[:, 2:]) - np.maximum(start[:, None], boxes[:, :2])
    shared = np.maximum(0, shared).prod(axis=-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) + sides.prod(axis=-1)[:, None]
    iou = np.where(inside, shared / (areas - shared), -1.0)
    for trial in np.flatnonzero(fits & (iou.max(axis=1) >= least)):
        yield np.concatenate([start[trial], sides[trial]]), inside[trial]
