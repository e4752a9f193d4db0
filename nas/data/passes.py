"""How strong augmentation should be: as strong as the passes over the data ask for.

A photo that is shown a few times is learnt from, not by heart, and what is changed in it costs
steps; one that is shown a hundred times is learnt by heart unless it differs each time. So what is
done follows from passes: images shown over images there are.

Numbers of geometry and colour are NanoDet's (RangiLyu/nanodet, config/nanodet-plus-m_320.yml):
scale 0.6 to 1.4, stretch 0.8 to 1.2, translation 0.2, brightness 0.2, contrast 0.6 to 1.4,
saturation 0.5 to 1.2, each for every other photo. The crop is SSD's (arXiv 1512.02325 §2.2), and so
is zooming out (§3.6), here to twice the side instead of four times, as inputs are small. Mosaics
are YOLOX-Nano's (Megvii-BaseDetection/YOLOX, exps/default/yolox_nano.py): for every other input, of
photos at 0.5 to 1.5 times their size; they end before the training does (arXiv 2107.08430 §2.2).
The limits of passes, and the probabilities of crop and zoom, are ours.
"""

from __future__ import annotations

import numpy as np

from nas.data.coco import Split
from nas.data.resize import ResizeRule, placement
from nas.data.settings import AugmentSettings

FEW, MANY = 8.0, 40.0
"""Passes below which a photo is hardly changed, and above which four are put together."""
SMALLEST_ZOOMED = 16.0
"""Pixels of the median box's side, below which zooming out would leave nothing to see."""


def by_passes(passes: float, median_box: float) -> AugmentSettings:
    """Returns the augmentation for a training.

    Args:
        passes: How often each photo is shown.
        median_box: Side in pixels of the input of the median box; see `median_side`.
    """
    if passes < FEW:
        return AugmentSettings(scale=(0.8, 1.25))
    return AugmentSettings(
        scale=(0.6, 1.4),
        stretch=(0.8, 1.2),
        translate=0.2,
        brightness=0.2,
        contrast=(0.6, 1.4),
        saturation=(0.5, 1.2),
        iou_crop=0.5,
        zoom_out=0.3 if median_box >= SMALLEST_ZOOMED else 0.0,
        zoom_to=2.0,
        mosaic=0.5 if passes > MANY else 0.0,
        mosaic_scale=(0.5, 1.5),
        mosaic_until=0.8,
    )


def median_side(split: Split, size: int, rule: ResizeRule) -> float:
    """Returns the side of the median box, the root of its area, in pixels of the input."""
    sides = []
    for image in split.images:
        place = placement(image.width, image.height, size, rule)
        boxes = place.to_input(image.boxes[~image.crowd])
        sides.append(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)))
    every = np.concatenate([np.zeros(0), *sides])
    return float(np.median(every)) if len(every) else 0.0
