"""Feature maps between the parts of a genome."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A map: channels, side in pixels, nominal log2 stride."""

    channels: int
    size: int
    level: int


class Map(NamedTuple):
    """A map that can be read: its shape, and the base width that a resampling's α multiplies."""

    shape: Shape
    base: float
