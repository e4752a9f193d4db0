"""Mosaics: four photos that meet in a point of the input, as YOLOv4 has them.

The arrangement is YOLOX's (Megvii-BaseDetection/YOLOX, yolox/data/datasets/mosaicdetection.py):
each photo touches the common point with a corner. There the input is cut out of a canvas of twice
its side; here it is drawn at once, with the point in the middle half of the input and a scale for
each photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.data.colour import draw_tint
from nas.data.settings import AugmentSettings
from nas.data.views import PhotoView, Target

_MIDDLE = (0.25, 0.75)  # of the input's side: where the photos meet


def draw_mosaic(
    rng: np.random.Generator,
    settings: AugmentSettings,
    positions: Sequence[int],
    contents: np.ndarray,
    target: Target,
) -> list[PhotoView]:
    """Draws views of four photos: top left, top right, bottom left, bottom right.

    Args:
        rng: Source of the draws.
        settings: What may happen; crop, zoom, scale, stretch and translation don't.
        positions: The photos' positions in the split, four.
        contents: (4, 2), their widths and heights as cached.
        target: The input.
    """
    size = target.size
    x, y = np.rint(rng.uniform(*_MIDDLE, size=2) * size).astype(int).tolist()
    frames = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    views = []
    for place, (position, content) in enumerate(zip(positions, contents, strict=True)):
        orientation = target.draw_orientation(rng)
        photo = orientation.size(content).astype(np.float64)
        scale = target.fitted(photo) * rng.uniform(*settings.mosaic_scale)
        # Photos on the left touch the point with their right edge, upper ones with their lower.
        touching = photo * np.array([place % 2 == 0, place < 2])
        origin = touching - np.array([x, y]) / scale
        tint = draw_tint(rng, settings)
        views.append(PhotoView(int(position), orientation, origin, scale, frames[place], tint))
    return views
