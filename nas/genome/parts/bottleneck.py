"""ResNet's blocks as SpineNet uses them: the bottleneck, and the shortcut of both."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.part import Activation, Stride, Width
from nas.genome.parts.operation import Operation, Style, Window
from nas.genome.tape import Tape, Value

EXPANSION = 4
"""Output channels over the width."""


class Bottleneck(Operation):
    """1×1 to `width`, 3×3, 1×1 to four times `width`; activation after the addition."""

    type: Literal["bottleneck"] = "bottleneck"
    width: Width
    stride: Stride = 1
    activation: Activation = "relu"

    style: ClassVar[Style] = Style("bottleneck", "square", "#cfe1f5", "#2b5c94")

    @property
    def window(self) -> Window:
        """Returns that of the 3×3."""
        return Window(3, self.stride)

    def channels(self, reads: int, width: int) -> int:
        """Returns four times the width."""
        return EXPANSION * width

    def base(self, channels: int) -> float:
        """Returns the width: α is a share of the 3×3 convolution's channels."""
        return channels / EXPANSION

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records three convolutions and the sum."""
        y = tape.conv(x, width, activation=self.activation)
        y = tape.conv(y, width, 3, stride, self.activation)
        y = tape.conv(y, EXPANSION * width)
        return (added(tape, x, y, stride, self.activation),)


def added(tape: Tape, x: Value, y: Value, stride: int, activation: Activation) -> Value:
    """Records ResNet's sum: the input is projected where channels change, or there is a stride."""
    if x.channels != y.channels or stride != 1:
        x = tape.conv(x, y.channels, 1, stride)
    return tape.activate(tape.add([y, x]), activation)
