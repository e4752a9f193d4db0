"""Random changes of cached pixels and their boxes: mirroring, and scale with crop or padding.

The order and the rules are those of SpineNet's preprocessing (tensorflow/tpu,
models/official/detection/utils/input_utils.py): mirror the picture, scale it by a random factor
with its aspect kept, crop at random what is too large, pad at the right and at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow


def flip_pixels(pixels: np.ndarray, content: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mirrors the chosen images left to right within their content, so padding stays put.

    Args:
        pixels: uint8 (B, S, S, 3).
        content: int (B, 2), width and height in pixels of what isn't padding.
        chosen: bool (B,).
    """
    flipped = np.array(pixels)
    for position in np.flatnonzero(chosen):
        width = content[position, 0]
        flipped[position, :, :width] = pixels[position, :, :width][:, ::-1]
    return flipped


def flip_boxes(
    boxes: np.ndarray, labels: np.ndarray, content: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Mirrors boxes xyxy (B, M, 4) of the chosen images; padding (label 0) stays zero."""
    flipped = boxes.copy()
    width = content[:, 0, None].astype(np.float32)
    flipped[..., 0] = width - boxes[..., 2]
    flipped[..., 2] = width - boxes[..., 0]
    return np.where((chosen[:, None] & (labels > 0))[..., None], flipped, boxes)


@dataclass(frozen=True, eq=False)
class Jitter:
    """Scaled sizes and crops of a batch.

    Attributes:
        scaled: int (B, 2), width and height in pixels of the content once scaled.
        offset: int (B, 2), the top left corner of the crop in the scaled content.
        size: Side of the input in pixels.
    """

    scaled: np.ndarray
    offset: np.ndarray
    size: int

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        content: np.ndarray,
        size: int,
        scales: tuple[float, float],
    ) -> Jitter:
        """Draws a scale in `scales` and a crop for each image with content (B, 2)."""
        scale = rng.uniform(*scales, size=(len(content), 1))
        scaled = np.maximum(1, np.rint(content * scale)).astype(np.int64)
        spare = np.maximum(0, scaled - size)
        offset = np.floor(rng.random(content.shape) * (spare + 1)).astype(np.int64)
        return cls(scaled, offset, size)

    def of(self, rows: slice) -> Jitter:
        """Returns the draws of some images of the batch."""
        return Jitter(self.scaled[rows], self.offset[rows], self.size)


def jitter_pixels(pixels: np.ndarray, content: np.ndarray, jitter: Jitter) -> np.ndarray:
    """Scales, crops and pads images uint8 (B, S, S, 3); only pixels that stay are computed."""
    out = np.zeros_like(pixels)
    shown = np.minimum(jitter.scaled - jitter.offset, jitter.size)
    # The crop in pixels of the content: that is where Pillow reads it from.
    ratio = content / jitter.scaled
    start, stop = jitter.offset * ratio, (jitter.offset + shown) * ratio
    for position, (width, height) in enumerate(shown):
        box = (*start[position], *np.minimum(stop[position], content[position]))
        # Without the padding, of which Pillow would mix half a pixel in.
        whole = pixels[position, : content[position, 1], : content[position, 0]]
        image = Pillow.fromarray(whole).resize(
            (int(width), int(height)), Pillow.Resampling.BILINEAR, box=box
        )
        out[position, :height, :width] = np.asarray(image)
    return out


def jitter_boxes(
    boxes: np.ndarray, labels: np.ndarray, content: np.ndarray, jitter: Jitter
) -> tuple[np.ndarray, np.ndarray]:
    """Scales and crops boxes (B, M, 4) with labels (B, M); what is cut away gets label 0."""
    scale = np.tile(jitter.scaled / content, (1, 2))[:, None]
    offset = np.tile(jitter.offset, (1, 2))[:, None]
    limit = np.tile(np.minimum(jitter.scaled - jitter.offset, jitter.size), (1, 2))[:, None]
    moved = np.clip(boxes * scale - offset, 0, limit).astype(np.float32)
    visible = (labels > 0) & (moved[..., 2:] > moved[..., :2]).all(axis=-1)
    return np.where(visible[..., None], moved, np.float32(0)), np.where(visible, labels, 0)
