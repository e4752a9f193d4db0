"""Edges: how a block reads its parent's map. What every type has."""

from __future__ import annotations

from typing import ClassVar

from nas.genome.maps import Map, Shape
from nas.genome.part import Part
from nas.genome.parts.operation import unknown_operators
from nas.genome.tape import Tape, Value


class Resample(Part):
    """The way from a parent's map to the size and width of its reader.

    Attributes:
        changes: whether the map is another one behind it.
    """

    type: str

    changes: ClassVar[bool] = True

    def middle(self, source: Map) -> int:
        """Returns the channels inside it; 0 where there is nothing inside."""
        return 0

    def check_picture(self, side: int) -> None:
        """Refuses a picture that is too small for it.

        Args:
            side: Of the picture in pixels.

        Raises:
            GenomeError: names the size, and what would be legal.
        """

    def with_alpha(self, alpha: float) -> Resample:
        """Returns the resampling with another α, where it has one."""
        return self

    def detail(self, size: int, target: int) -> str:
        """Returns what a key compares of it besides its fields, from `size` to `target` pixels."""
        return ""

    def record(self, tape: Tape, x: Value, source: Shape, target: Shape, middle: int) -> Value:
        """Records its operators.

        Args:
            tape: What they are added to.
            x: The map.
            source: Shape of the map.
            target: Shape that it becomes.
            middle: Channels inside.

        Raises:
            GenomeError: when its operators aren't known.
        """
        raise unknown_operators(f"a part of type {self.type!r}")


def projected(tape: Tape, x: Value, target: Shape) -> Value:
    """Records 1×1 and nearest neighbours up, on as few pixels as the sizes allow.

    Published tables count the 1×1 at the reader's size.
    """
    if target.size % x.size:
        x = tape.resize(x, target.size)
    x = tape.conv(x, target.channels, published_size=target.size)
    return tape.resize(x, target.size)
