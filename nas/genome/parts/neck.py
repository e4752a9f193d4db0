"""Necks, between the taps and the head. What every type has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.part import Part
from nas.genome.parts.operation import unknown_operators
from nas.genome.tape import Tape, Value


class Neck(Part):
    """From the tapped maps to those that the head reads.

    Attributes:
        makes: whether it is nothing, one unit a map, or one unit that reads all maps.
        reader: who reads a drawing's outputs, in words.
    """

    type: str

    makes: ClassVar[Literal["nothing", "unit per map", "one unit"]] = "one unit"
    reader: ClassVar[str] = "the neck"

    def shapes(self, maps: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Returns the maps that the head reads.

        Args:
            maps: one for each tap.

        Raises:
            GenomeError: names a map that doesn't fit, and what would be legal.
        """
        raise NotImplementedError(f"{type(self).__name__}.shapes")

    def check_taps(self, training_only: Sequence[bool]) -> None:
        """Refuses taps for training alone where it needs them in what is shipped.

        Raises:
            GenomeError: says what would be legal.
        """

    def with_width(self, width: int) -> Neck:
        """Returns the neck with another width of what it gives, where it has one."""
        return self

    def record(self, tape: Tape, maps: Sequence[Value]) -> tuple[Value, ...]:
        """Records the operators of one of its units.

        Raises:
            GenomeError: when they aren't known.
        """
        raise unknown_operators(f"a part of type {self.type!r}")
