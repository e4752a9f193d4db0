"""ResNet's basic block as SpineNet uses it."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.part import Activation, Stride, Width
from nas.genome.parts.bottleneck import added
from nas.genome.parts.operation import Operation, Style, Window
from nas.genome.tape import Tape, Value


class Residual(Operation):
    """Two 3×3 convolutions of `width`; activation after the addition."""

    type: Literal["residual"] = "residual"
    width: Width
    stride: Stride = 1
    activation: Activation = "relu"

    style: ClassVar[Style] = Style("residual", "diamond", "#ffe0b8", "#b8691a")

    @property
    def window(self) -> Window:
        """Returns that of the first convolution."""
        return Window(3, self.stride)

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records two convolutions and the sum."""
        y = tape.conv(x, width, 3, stride, self.activation)
        y = tape.conv(y, width, 3)
        return (added(tape, x, y, stride, self.activation),)
