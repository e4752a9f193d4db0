"""The shapes, textures and grounds that built-in scenes are painted with.

Masks use additions, products and comparisons only, which come out alike on every processor:
annotations follow from them, and are promised to be the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope = 1.7320508
    return (y < 0.5) & (slope * x - y < 1) & (-slope * x - y < 1)


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * x + y * y < 1) & ((x - 0.45) * (x - 0.45) + y * y > 0.5)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = x * x + y * y
    return (squared < 1) & (squared > 0.3)


# Each is true inside a shape within the unit disk.
SHAPES: dict[str, Formula] = {
    "disk": lambda x, y: x * x + y * y < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.7,
    "triangle": _triangle,
    "ring": _ring,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 0.9),
    "star": lambda x, y: _triangle(x, y) | _triangle(x, -y),
    "bar": lambda x, y: (abs(x) < 0.95) & (abs(y) < 0.25),
    "crescent": _crescent,
    "ell": lambda x, y: (np.maximum(abs(x), abs(y)) < 0.7) & ((x < -0.2) | (y > 0.2)),
    "lens": lambda x, y: x * x + (abs(y) + 0.75) * (abs(y) + 0.75) < 1.5625,
}


def mask_of(shape: str, rng: np.random.Generator, side: float) -> np.ndarray:
    """Draws a turned shape, bool (n, n); its bounding box is about `side` px long."""
    angle = float(rng.random()) * 2 * math.pi
    cosine, sine = math.cos(angle), math.sin(angle)

    def inside(n: int) -> np.ndarray:
        steps = (np.arange(n) + 0.5) * (2 / n) - 1
        x, y = steps[None, :], steps[:, None]
        return SHAPES[shape](cosine * x + sine * y, cosine * y - sine * x)

    # The turned shape fills only part of the unit disk: measured once, then drawn at its size.
    extent = max(_cropped(inside(128)).shape) / 128
    return _squared(_cropped(inside(max(3, round(side / extent)))))


def fill(rng: np.random.Generator, n: int, hue: float | None) -> np.ndarray:
    """Draws stripes, checks or spots of two colours, int16 (n, n, 3); `hue` None is any."""
    hue = float(rng.random()) if hue is None else hue
    light = _colour(hue, 0.85, 0.65 + 0.35 * float(rng.random()))
    dark = _colour(hue, 0.95, 0.25 + 0.25 * float(rng.random()))
    period = max(2, int(n * (0.12 + 0.2 * float(rng.random()))))
    rows, columns = np.arange(n)[:, None], np.arange(n)[None, :]
    pattern = int(rng.integers(4))
    if pattern == 0:
        second = np.broadcast_to(rows // period % 2, (n, n))
    elif pattern == 1:
        second = (rows + columns) // period % 2
    elif pattern == 2:
        second = (rows // period + columns // period) % 2
    else:
        second = (np.asarray(_clouds(rng, n, 6)) > 153).astype(np.int64)
    return np.where((second == 1)[..., None], dark, light).astype(np.int16)


def ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draws a dull cloudy ground, int16 (side, side, 3)."""
    plain = [
        Pillow.new("RGB", (side, side), tuple(np.rint(colour).astype(int).tolist()))
        for colour in (
            _colour(float(rng.random()), 0.25, 0.25 + 0.55 * float(rng.random())) for _ in range(2)
        )
    ]
    clouds = Pillow.blend(_clouds(rng, side, 4), _clouds(rng, side, 24), 0.4)
    return np.asarray(Pillow.composite(plain[1], plain[0], clouds)).astype(np.int16)


def _clouds(rng: np.random.Generator, n: int, cells: int) -> Pillow.Image:
    """Draws smooth grey noise, (n, n) with about `cells` bumps a side."""
    coarse = Pillow.fromarray(rng.integers(0, 256, (cells, cells)).astype(np.uint8))
    return coarse.resize((n, n), Pillow.Resampling.BICUBIC)


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """Returns RGB (3,) in 0 to 255 of hue, saturation and value in 0 to 1."""
    sixths = (hue * 6 + np.array([0.0, 4.0, 2.0])) % 6
    pure = np.clip(abs(sixths - 3) - 1, 0, 1)
    return 255 * value * (1 - saturation * (1 - pure))


def _cropped(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _squared(mask: np.ndarray) -> np.ndarray:
    """Pads to a square at the right or at the bottom, so that textures need one size."""
    n = max(mask.shape)
    return np.pad(mask, ((0, n - mask.shape[0]), (0, n - mask.shape[1])))
