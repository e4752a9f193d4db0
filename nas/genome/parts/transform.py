"""What may become of a tapped map before the neck reads it. What every type has."""

from __future__ import annotations

from nas.genome.maps import Shape
from nas.genome.part import Part
from nas.genome.parts.operation import unknown_operators
from nas.genome.tape import Tape, Value


class Transform(Part):
    """From one map to one map."""

    type: str

    def shape(self, tap: str, block: str, x: Shape) -> Shape:
        """Returns the shape that it gives.

        Args:
            tap: The tap that it is of, for messages.
            block: The block that is tapped, for messages.
            x: What it reads.

        Raises:
            GenomeError: when nothing would be left.
        """
        return x

    def record(self, tape: Tape, x: Value) -> Value:
        """Records its operators.

        Raises:
            GenomeError: when they aren't known.
        """
        raise unknown_operators(f"a part of type {self.type!r}")
