"""Anchors of one level: the boxes that a head's predictions start from."""

from __future__ import annotations

import math
from typing import Literal, Self

from nas.genome.part import Part, Positive


class Anchors(Part):
    """The boxes at one place of a map."""

    type: str

    @property
    def count(self) -> int:
        """Returns how many there are."""
        raise NotImplementedError(f"{type(self).__name__}.count")


class OctaveAnchors(Anchors):
    """RetinaNet's anchors of one level: octave scales × aspect ratios (width over height).

    `size` times the level's stride is the side of the smallest square anchor.
    """

    type: Literal["octave"] = "octave"
    size: Positive = 3.0
    scales: tuple[Positive, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: tuple[Positive, ...] = (1.0, 2.0, 0.5)

    @property
    def count(self) -> int:
        """Returns the anchors at one place."""
        return len(self.scales) * len(self.ratios)

    def sides(self, level: int) -> list[tuple[float, float]]:
        """Returns width and height of each anchor at one place in pixels, scale first."""
        squares = [self.size * 2**level * scale for scale in self.scales]
        roots = [math.sqrt(ratio) for ratio in self.ratios]
        return [(side * root, side / root) for side in squares for root in roots]


class DefaultBoxes(Anchors):
    """SSD's default boxes of one level, as fractions of the input's side.

    Two squares, of `scale` and of the geometric mean with `next_scale`, then one pair per
    aspect ratio. `squares` puts squares of other scales in their place (TensorFlow's first map
    has one of 0.1). `step` is the distance of centres in pixels; None is input over map size.
    """

    type: Literal["default_boxes"] = "default_boxes"
    scale: Positive
    next_scale: Positive
    ratios: tuple[Positive, ...] = (2.0, 3.0)
    squares: tuple[Positive, ...] | None = None
    step: Positive | None = None
    clip: bool = True

    @property
    def count(self) -> int:
        """Returns the boxes at one place."""
        return len(self.square_scales) + 2 * len(self.ratios)

    @property
    def square_scales(self) -> tuple[float, ...]:
        """Returns the scales of the squares, which come before the pairs."""
        if self.squares is not None:
            return self.squares
        return self.scale, math.sqrt(self.scale * self.next_scale)

    def resolved(self) -> tuple[Self, frozenset[str]]:
        """Leaves out squares that are the derived ones, and beside others `next_scale`."""
        if self.squares is None:
            return self, frozenset()
        derived = self.replace(squares=None).square_scales
        return self, frozenset({"squares" if self.squares == derived else "next_scale"})
