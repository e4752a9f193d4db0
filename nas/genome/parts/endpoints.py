"""SpineNet's endpoints: all maps to one width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.part import Activation, Width
from nas.genome.parts.neck import Neck
from nas.genome.tape import Tape, Value


class Endpoints(Neck):
    """One 1×1 convolution with batch norm and activation per tap, to a common width (SpineNet)."""

    type: Literal["endpoints"] = "endpoints"
    width: Width = 256
    activation: Activation = "relu"

    makes: ClassVar[Literal["nothing", "unit per map", "one unit"]] = "unit per map"
    reader: ClassVar[str] = "the detection head"

    def shapes(self, maps: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Returns the same maps, of its width."""
        return tuple([Shape(self.width, shape.size, shape.level) for shape in maps])

    def with_width(self, width: int) -> Endpoints:
        """Returns the neck with this width."""
        return self.replace(width=width)

    def record(self, tape: Tape, maps: Sequence[Value]) -> tuple[Value, ...]:
        """Records one convolution for each map."""
        return tuple([tape.conv(x, self.width, activation=self.activation) for x in maps])
