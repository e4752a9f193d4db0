"""Boxes with names, drawn on a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

_GOLDEN = 0.618034


def colour_of(label: int) -> tuple[int, int, int]:
    """Returns a bright RGB colour; neighbouring labels get hues that lie far apart."""
    red, green, blue = colorsys.hsv_to_rgb((label * _GOLDEN) % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    picture: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[str],
    labels: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """Draws boxes with a text at each.

    Args:
        picture: uint8 (H, W, 3).
        boxes: (n, 4), xyxy in pixels of the picture.
        texts: What stands at each box, such as a name or `name 0.87`.
        labels: (n,), the class of each, for its colour.

    Returns:
        A new picture uint8 (H, W, 3).
    """
    image = Pillow.fromarray(picture)
    pen = ImageDraw.Draw(image)
    longest = max(image.size)
    font = ImageFont.load_default(size=max(10, longest // 45))
    thickness = max(1, longest // 300)
    for box, text, label in zip(np.asarray(boxes).tolist(), texts, labels, strict=True):
        colour = colour_of(int(label))
        left, top, right, bottom = box
        pen.rectangle(
            (left, top, max(left, right - 1), max(top, bottom - 1)), None, colour, thickness
        )
        _write(pen, text, left, top, colour, font, image.size)
    return np.asarray(image).copy()


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    left: float,
    top: float,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Writes on a ground of the box's colour: above its corner, inside where there's no room."""
    x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
    width, height = x1 - x0 + 4, y1 - y0 + 4
    x = max(0.0, min(left, size[0] - width))
    y = top - height if top >= height else top
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 2 - x0, y + 2 - y0), text, fill=(0, 0, 0), font=font)
