"""Max pooling as a block."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.network import Scale
from nas.genome.part import Kernel, Padding, Stride
from nas.genome.parts.operation import Operation, Style, Window, max_pooled
from nas.genome.tape import Tape, Value


class MaxPool(Operation):
    """Max pooling; `padding="same"` pads as TensorFlow does, at the bottom and right first."""

    type: Literal["max_pool"] = "max_pool"
    kernel: Kernel = 3
    stride: Stride = 2
    padding: Padding | Literal["same"] = "same"
    ceil: bool = False

    takes_resampled: ClassVar[bool] = False
    commutes_with_rectifier: ClassVar[bool] = True
    style: ClassVar[Style] = Style("max pool", "trapezium", "#e5e7eb", "#6b7280")

    @property
    def window(self) -> Window:
        """Returns its own window, without the padding."""
        return Window(self.kernel, self.stride)

    def width_at(self, scale: Scale) -> int:
        """Returns 0: it has no width."""
        return 0

    def channels(self, reads: int, width: int) -> int:
        """Returns the channels that it reads."""
        return reads

    def size(self, size: int, repeats: int) -> int:
        """Returns the side of what is left; copies don't change it."""
        if self.padding == "same":
            return -(-size // self.stride)
        extent = size + 2 * self.padding - self.kernel
        out = (-(-extent // self.stride) if self.ceil else extent // self.stride) + 1
        # A last window has to start within the map, as torch has it.
        return out - 1 if (out - 1) * self.stride >= size + self.padding else out

    def check(self, name: str, x: Shape, out: Shape, repeats: int) -> None:
        """Refuses too wide a padding, and copies that would change the size."""
        if self.padding != "same" and self.padding > self.kernel // 2:
            raise GenomeError(
                f"block {name!r} pads a max_pool of kernel {self.kernel} by {self.padding}; "
                f"legal: at most {self.kernel // 2}, or 'same'"
            )
        if repeats > 1 and x.size != out.size:
            raise GenomeError(
                f"block {name!r}: a max_pool that changes the size can't be repeated; "
                "legal: repeats 1"
            )

    def resolved(self) -> tuple[Self, frozenset[str]]:
        """Leaves out `ceil` where it pads as TensorFlow does, since nothing reads it then."""
        return self, frozenset({"ceil"} if self.padding == "same" else ())

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records one pooling, of its own stride in every copy, for copies keep the size anyway."""
        padding = None if self.padding == "same" else self.padding
        size = self.size(x.size, 1)
        return (max_pooled(tape, x, self.kernel, self.stride, size, padding),)
