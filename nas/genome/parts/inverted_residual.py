"""MobileNetV2's block: widen, filter each channel, narrow."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.genome.maps import Shape
from nas.genome.part import Activation, Fraction, Kernel, Stride, Width, later_field
from nas.genome.parts.operation import Operation, Style, Window, check_shortcut
from nas.genome.parts.squeeze_excite import SqueezeExcite
from nas.genome.tape import Tape, Value
from nas.genome.widths import expanded


class InvertedResidual(Operation):
    """1×1 expansion, depthwise convolution, optional squeeze-excite, 1×1 projection.

    `expansion` multiplies the input channels (rounded to the nearest integer); 1 leaves the
    expansion convolution out, less than 1 narrows (SSDlite's extra blocks, which also activate
    the projection). `point="expand"` of an edge or tap reads the expanded map. `padding`
    "same" pads the depthwise convolution as TensorFlow does; None pads it symmetrically.
    """

    type: Literal["inverted_residual"] = "inverted_residual"
    width: Width
    expansion: Fraction = 6.0
    kernel: Kernel = 3
    stride: Stride = 1
    dilation: Annotated[int, Field(ge=1, le=16)] = 1
    squeeze_excite: SqueezeExcite | None = None
    activation: Activation = "relu6"
    project_activation: Activation = "none"
    shortcut: bool = True
    padding: Literal["same"] | None = later_field(None)

    expands: ClassVar[bool] = True
    style: ClassVar[Style] = Style("inverted residual", "circle", "#d3eedb", "#2f7d4b")

    @property
    def window(self) -> Window:
        """Returns that of the depthwise convolution."""
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def inner(self, x: Shape) -> tuple[Shape, ...]:
        """Returns the expanded map."""
        return (Shape(expanded(x.channels, self.expansion), x.size, x.level),)

    def check(self, name: str, x: Shape, out: Shape, repeats: int) -> None:
        """Refuses a shortcut between shapes that differ."""
        if self.shortcut:
            check_shortcut(name, x, out)
        super().check(name, x, out, repeats)

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records expansion unless it is 1, depthwise, squeeze-excite, projection, and the sum."""
        act, wide = self.activation, x
        if self.expansion != 1:
            wide = tape.conv(x, expanded(x.channels, self.expansion), activation=act)
        y = tape.depthwise(wide, self.kernel, stride, act, self.dilation, padding=self.padding)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite.record(tape, y, x.channels)
        y = tape.conv(y, width, activation=self.project_activation)
        return tape.add([x, y]) if self.shortcut else y, wide
