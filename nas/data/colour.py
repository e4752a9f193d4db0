"""Random colours: brightness, contrast and saturation, in this order.

The order and the arithmetic are those of NanoDet (RangiLyu/nanodet, nanodet/data/transform/
color.py), except that values which leave their range are cut off, since pixels are whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nas.data.settings import AugmentSettings


class Tint(NamedTuple):
    """What becomes of a photo's colours.

    Attributes:
        brightness: What is added to values in 0..1.
        contrast: What they are multiplied with then.
        saturation: What HSV's saturation is multiplied with then.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0


def draw_tint(rng: np.random.Generator, settings: AugmentSettings) -> Tint:
    """Draws the changes of a photo, each with the settings' chance; always as many numbers."""
    chosen = rng.random(3) < settings.chance
    drawn = (
        rng.uniform(-settings.brightness, settings.brightness),
        rng.uniform(*(settings.contrast or (1.0, 1.0))),
        rng.uniform(*(settings.saturation or (1.0, 1.0))),
    )
    plain = Tint()
    return Tint(*(new if c else old for c, new, old in zip(chosen, drawn, plain, strict=True)))


def tinted(pixels: np.ndarray, tint: Tint) -> np.ndarray:
    """Changes the colours of pixels uint8 (H, W, 3); returns new ones."""
    if tint == Tint():
        return pixels
    values = (pixels.astype(np.float32) + 255 * tint.brightness) * np.float32(tint.contrast)
    if tint.saturation != 1:
        # With hue and value as they are, saturation is how far a channel is from the greatest.
        top = values.max(axis=-1, keepdims=True)
        values = top - np.float32(tint.saturation) * (top - values)
    return np.rint(values).clip(0, 255).astype(np.uint8)
