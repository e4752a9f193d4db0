"""MobileDets' generalised bottleneck: narrow, filter, widen."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.part import Activation, Fraction, Kernel, Stride, Width
from nas.genome.parts.operation import Operation, Style, Window, check_shortcut
from nas.genome.tape import Tape, Value
from nas.genome.widths import compressed


class Tucker(Operation):
    """1×1 compression, full k×k convolution, linear 1×1: MobileDets' generalised bottleneck."""

    type: Literal["tucker"] = "tucker"
    width: Width
    input_ratio: Fraction = 0.25
    output_ratio: Fraction = 0.75
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu6"
    shortcut: bool = True

    style: ClassVar[Style] = Style("tucker", "hexagon", "#ead9f4", "#7a4a99")

    @property
    def window(self) -> Window:
        """Returns that of the full convolution."""
        return Window(self.kernel, self.stride)

    def check(self, name: str, x: Shape, out: Shape, repeats: int) -> None:
        """Refuses a shortcut between shapes that differ."""
        if self.shortcut:
            check_shortcut(name, x, out)
        super().check(name, x, out, repeats)

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records three convolutions and the sum."""
        y = tape.conv(x, compressed(x.channels, self.input_ratio), activation=self.activation)
        inner = compressed(width, self.output_ratio)
        y = tape.conv(tape.conv(y, inner, self.kernel, stride, self.activation), width)
        return (tape.add([x, y]) if self.shortcut else y,)
