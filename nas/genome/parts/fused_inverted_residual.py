"""EfficientNetV2's and MobileDets' block: widen by a full convolution, narrow."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.part import Activation, Fraction, Kernel, Stride, Width
from nas.genome.parts.operation import Operation, Style, Window, check_shortcut
from nas.genome.parts.squeeze_excite import SqueezeExcite
from nas.genome.tape import Tape, Value
from nas.genome.widths import expanded


class FusedInvertedResidual(Operation):
    """Full k×k convolution to the expanded width, optional squeeze-excite, linear projection."""

    type: Literal["fused_inverted_residual"] = "fused_inverted_residual"
    width: Width
    expansion: Fraction = 4.0
    kernel: Kernel = 3
    stride: Stride = 1
    squeeze_excite: SqueezeExcite | None = None
    activation: Activation = "relu6"
    shortcut: bool = True

    style: ClassVar[Style] = Style("fused inverted residual", "circle", "#f3e3a6", "#8a6d0f")

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
        """Records two convolutions, squeeze-excite between them, and the sum."""
        wide = expanded(x.channels, self.expansion)
        y = tape.conv(x, wide, self.kernel, stride, self.activation)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite.record(tape, y, x.channels)
        y = tape.conv(y, width)
        return (tape.add([x, y]) if self.shortcut else y,)
