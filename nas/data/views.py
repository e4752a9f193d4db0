"""Views of photos: turned, and seen through an upright window that is scaled to the input.

Crop, zoom, scale, stretch and translation of a photo are one map of its pixels to those of the
input, `input = (photo - origin) * scale`, so that pixels are interpolated once, with antialiasing,
and only where they are seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from nas.data.colour import Tint, draw_tint, tinted
from nas.data.iou_crop import draw_crop
from nas.data.resize import ResizeRule
from nas.data.settings import AugmentSettings

VISIBLE = 0.2
"""Least share of a box's area that must be seen (YOLOX's `box_candidates`, area_thr)."""
_THINNEST = 1.0  # pixels of the input


class Orientation(NamedTuple):
    """How a photo is turned: first by quarters against the clock, then mirrored."""

    quarters: int = 0
    left_right: bool = False
    up_down: bool = False

    def size(self, size: np.ndarray) -> np.ndarray:
        """Returns the width and height (2,) of a turned photo."""
        return size[::-1] if self.quarters % 2 else size

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Turns pixels (H, W, 3), as a view of them."""
        turned = np.rot90(pixels, self.quarters)
        turned = turned[:, ::-1] if self.left_right else turned
        return turned[::-1] if self.up_down else turned

    def boxes(self, boxes: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Turns boxes xyxy (n, 4) of a photo of this width and height (2,)."""
        width, height = size
        for _ in range(self.quarters):
            left, top, right, bottom = boxes.T
            boxes = np.stack([top, width - right, bottom, width - left], axis=1)
            width, height = height, width
        left, top, right, bottom = boxes.T
        if self.left_right:
            left, right = width - right, width - left
        if self.up_down:
            top, bottom = height - bottom, height - top
        return np.stack([left, top, right, bottom], axis=1)


class Target(NamedTuple):
    """What views are made for.

    Attributes:
        size: Side of the input in pixels.
        rule: How photos are fitted into it.
        flip: Whether every other photo is mirrored left to right.
        flip_vertical: Whether every other photo is mirrored upside down, as cells may be.
        quarter_turns: Whether photos are turned by 0, 90, 180 or 270 degrees, all alike often.
    """

    size: int
    rule: ResizeRule
    flip: bool = True
    flip_vertical: bool = False
    quarter_turns: bool = False

    def draw_orientation(self, rng: np.random.Generator) -> Orientation:
        """Draws one of the orientations that may occur, all alike often."""
        quarters, mirrored = int(rng.integers(4)), rng.random(2) < 0.5
        return Orientation(
            quarters if self.quarter_turns else 0,
            bool(mirrored[0]) and self.flip,
            bool(mirrored[1]) and self.flip_vertical,
        )

    def fitted(self, side: np.ndarray) -> np.ndarray:
        """Returns the scale (2,) at which a region of this width and height just fits."""
        whole = self.rule == "stretch"
        return self.size / side if whole else np.full(2, self.size / side.max())


class PhotoView(NamedTuple):
    """A photo in a part of the input.

    Attributes:
        position: The photo's position in the split.
        orientation: How it is turned before all else.
        origin: float (2,), the point of the turned photo that lies at the input's top left corner.
        scale: float (2,), pixels of the input a pixel of the photo.
        frame: Left, top, right and bottom of the part of the input, in whole pixels.
        tint: What becomes of its colours.
    """

    position: int
    orientation: Orientation
    origin: np.ndarray
    scale: np.ndarray
    frame: tuple[int, int, int, int]
    tint: Tint

    def paint(self, target: np.ndarray, pixels: np.ndarray) -> None:
        """Paints the photo into the input.

        Args:
            target: uint8 (S, S, 3), the input; nothing outside the frame is touched.
            pixels: uint8 (H, W, 3), the photo as cached, without padding.
        """
        turned = self.orientation.pixels(pixels)
        size = np.array([turned.shape[1], turned.shape[0]])
        # The photo's own edges fall on whole pixels of the input, or the edge would be a mixture.
        edges = np.rint(np.stack([-self.origin, size - self.origin]) * self.scale).astype(int)
        left, top = np.maximum(edges[0], self.frame[:2]).tolist()
        right, bottom = np.minimum(edges[1], self.frame[2:]).tolist()
        if left >= right or top >= bottom:
            return
        corners = np.array([[left, top], [right, bottom]]) / self.scale + self.origin
        (x0, y0), (x1, y1) = np.clip(corners, 0, size).tolist()
        rows, columns = slice(int(y0), math.ceil(y1)), slice(int(x0), math.ceil(x1))
        part = Pillow.fromarray(np.ascontiguousarray(turned[rows, columns])).resize(
            (right - left, bottom - top),
            Pillow.Resampling.BILINEAR,
            box=(x0 - int(x0), y0 - int(y0), x1 - int(x0), y1 - int(y0)),
        )
        target[top:bottom, left:right] = tinted(np.asarray(part), self.tint)

    def boxes(
        self, boxes: np.ndarray, labels: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Takes boxes along, and leaves out those of which too little is seen.

        Args:
            boxes: (n, 4), xyxy in pixels of the photo as cached.
            labels: (n,).
            size: (2,), width and height of the photo as cached.

        Returns:
            float32 (m, 4), xyxy in pixels of the input, inside the frame, and their labels (m,).
        """
        moved = self.orientation.boxes(boxes.astype(np.float64), size)
        moved = (moved - np.tile(self.origin, 2)) * np.tile(self.scale, 2)
        visible = np.clip(moved, np.tile(self.frame[:2], 2), np.tile(self.frame[2:], 2))
        sides = visible[:, 2:] - visible[:, :2]
        whole = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
        kept = (sides >= _THINNEST).all(axis=1) & (sides.prod(axis=1) >= VISIBLE * whole)
        return visible[kept].astype(np.float32), labels[kept]


def draw_view(
    rng: np.random.Generator,
    settings: AugmentSettings,
    position: int,
    content: np.ndarray,
    boxes: np.ndarray,
    target: Target,
) -> PhotoView:
    """Draws a view of a single photo.

    Without any change it lies where it would in evaluation: at the top left, as large as fits.

    Args:
        rng: Source of the draws.
        settings: What may happen.
        position: The photo's position in the split.
        content: (2,), its width and height as cached.
        boxes: (n, 4), xyxy in the same pixels.
        target: The input.
    """
    orientation = target.draw_orientation(rng)
    photo = orientation.size(content)
    corner, side = np.zeros(2), photo.astype(np.float64)
    if rng.random() < settings.iou_crop and len(boxes):
        crop = draw_crop(rng, photo, orientation.boxes(boxes, content))
        if crop is not None:
            corner, side = crop[0][:2].astype(np.float64), crop[0][2:].astype(np.float64)
    if rng.random() < settings.zoom_out:
        # The ground is larger than the photo, which lies anywhere in it.
        larger = side * rng.uniform(1.0, settings.zoom_to)
        corner, side = corner - rng.random(2) * (larger - side), larger
    base = target.fitted(side)
    chosen = rng.random(3) < settings.chance
    factor = rng.uniform(*(settings.scale or (1.0, 1.0))) if chosen[0] else 1.0
    stretch = rng.uniform(*(settings.stretch or (1.0, 1.0)), size=2) if chosen[1] else np.ones(2)
    shift = rng.uniform(-settings.translate, settings.translate, size=2) * chosen[2]
    scale = base * factor * stretch
    # What is shown keeps its middle where it would be without scale and stretch, but for the shift.
    middle = base * side / 2 + shift * target.size
    origin = corner + side / 2 - middle / scale
    frame = (0, 0, target.size, target.size)
    return PhotoView(position, orientation, origin, scale, frame, draw_tint(rng, settings))
