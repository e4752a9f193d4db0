"""Convolution, batch norm and activation as one block: stems."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.network import Scale
from nas.genome.part import Activation, Kernel, Padding, Stride, Width
from nas.genome.parts.operation import Operation, Style, Window, check_shortcut, unknown_operators
from nas.genome.tape import Tape, Value


class Conv(Operation):
    """Convolution, batch norm, activation; real or binary, with an optional shortcut.

    `padding` None is the symmetric `dilation * (kernel - 1) // 2`, "same" is TensorFlow's. With
    `precision="binary"` input and weights are signs and the weights carry one scale per filter
    (BiDet). The `average_pool` shortcut is a 2×2 average pool of the same stride, a real 1×1
    convolution and batch norm; `ceil` rounds that pool's size up.
    """

    type: Literal["conv"] = "conv"
    width: Width
    kernel: Kernel = 3
    stride: Stride = 1
    padding: Padding | Literal["same"] | None = None
    dilation: Annotated[int, Field(ge=1, le=16)] = 1
    bias: bool = False
    norm: bool = True
    activation: Activation = "relu"
    precision: Literal["real", "binary"] = "real"
    shortcut: Literal["none", "identity", "average_pool"] = "none"
    ceil: bool = False
    scalable: bool = True  # False: Scale leaves this width alone (SpineNet's stem convolution)

    style: ClassVar[Style] = Style("convolution", "small", "#e5e7eb", "#6b7280")

    @property
    def window(self) -> Window:
        """Returns its own window."""
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def width_at(self, scale: Scale) -> int:
        """Returns the width under the scale, or as it is where it isn't scalable."""
        return scale.width_of(self.width) if self.scalable else self.width

    def check(self, name: str, x: Shape, out: Shape, repeats: int) -> None:
        """Refuses a shortcut between shapes that differ."""
        if self.shortcut == "identity":
            check_shortcut(name, x, out)
        elif self.shortcut == "average_pool":
            extent = x.size - 2
            pooled = (-(-extent // self.stride) if self.ceil else extent // self.stride) + 1
            if pooled != out.size:
                raise GenomeError(
                    f"block {name!r} adds an average pool of {pooled} px to its output of "
                    f"{out.size} px; legal: stride 2, with the other value of 'ceil'"
                )
        super().check(name, x, out, repeats)

    def resolved(self) -> tuple[Self, frozenset[str]]:
        """Fills in the padding in pixels; only an average pool reads `ceil`."""
        unread = frozenset() if self.shortcut == "average_pool" else frozenset({"ceil"})
        if self.padding == "same":
            return self, unread
        pixels, _ = self.window.pads(0, 1)
        return self.replace(padding=pixels), unread

    def check_buildable(self, name: str) -> None:
        """Refuses binary convolutions and shortcuts."""
        if self.precision != "real" or self.shortcut != "none":
            raise GenomeError(
                f"{name}: no model yet for a {self.precision} conv with shortcut "
                f"{self.shortcut!r}; legal to build: precision 'real' with shortcut 'none'"
            )

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records one convolution; one that is binary or has a shortcut is refused."""
        if self.precision != "real" or self.shortcut != "none":
            raise unknown_operators(f"a {self.precision} conv with shortcut {self.shortcut!r}")
        return (
            tape.conv(
                x,
                width,
                self.kernel,
                stride,
                self.activation,
                padding=self.padding,
                dilation=self.dilation,
                norm=self.norm,
                bias=self.bias,
            ),
        )
