"""What every operation of a block has: its window, its shape rule, its operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.network import Scale
from nas.genome.padding import PaddingRule, pads
from nas.genome.part import Part
from nas.genome.tape import Tape, Value


class Window(NamedTuple):
    """The window of the convolution or pooling that has an operation's stride.

    The side of what it gives is ⌊(S + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1, with the
    padding of both sides.

    Attributes:
        padding: pixels on each side, "same", or None for the symmetric default.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: PaddingRule = None

    @property
    def keeps_size(self) -> bool:
        """Tells whether a map keeps its size at stride 1."""
        extent = self.dilation * (self.kernel - 1)
        return self.padding == "same" or sum(self.pads(extent, 1)) == extent

    def pads(self, size: int, stride: int) -> tuple[int, int]:
        """Returns the pixels of padding before and behind a map of this side."""
        return pads(self.padding, size, self.kernel, stride, self.dilation)

    def size(self, size: int, stride: int) -> int:
        """Returns the side of what a map of this side becomes."""
        padded = size + sum(self.pads(size, stride))
        return (padded - self.dilation * (self.kernel - 1) - 1) // stride + 1

    def is_symmetric(self, size: int, repeats: int) -> bool:
        """Tells whether copies of it, the first on a map of this side, are padded as None says."""
        plain = self._replace(padding=None)
        for copy in range(repeats):
            stride = self.stride if copy == 0 else 1
            if self.pads(size, stride) != plain.pads(size, stride):
                return False
            size = self.size(size, stride)
        return True


class Style(NamedTuple):
    """How a block is drawn: its name in a legend, the outline, and two colours."""

    name: str
    outline: str = "small"
    fill: str = "#e5e7eb"
    line: str = "#6b7280"


class Operation(Part):
    """What a block does with its combined input.

    A new type has its fields, a `window`, and `record`; the rest has defaults that hold for
    whatever has one window and as many output channels as its width says.

    Attributes:
        expands: whether `point="expand"` of an edge or tap reads a map inside it.
        takes_resampled: whether a block of it may read through a resampling edge.
        commutes_with_rectifier: whether a ReLU before it may as well come after it.
        style: how it is drawn.
    """

    type: str

    expands: ClassVar[bool] = False
    takes_resampled: ClassVar[bool] = True
    commutes_with_rectifier: ClassVar[bool] = False
    style: ClassVar[Style] = Style("other operation")

    if TYPE_CHECKING:

        @property
        def width(self) -> int:
            """Returns the base width."""

    @property
    def window(self) -> Window:
        """Returns the window that has the stride."""
        raise NotImplementedError(f"{type(self).__name__}.window")

    def width_at(self, scale: Scale) -> int:
        """Returns its width under a network's scale."""
        return scale.width_of(self.width)

    def channels(self, reads: int, width: int) -> int:
        """Returns the channels that it gives.

        Args:
            reads: channels of its input.
            width: that `width_at` gave.
        """
        return width

    def base(self, channels: int) -> float:
        """Returns the base width that a resampling's α multiplies, of so many output channels."""
        return float(channels)

    def size(self, size: int, repeats: int) -> int:
        """Returns the side of what so many copies give; below 1 nothing is left."""
        window = self.window
        for copy in range(repeats):
            size = window.size(size, window.stride if copy == 0 else 1)
        return size

    def form_on(self, size: int, repeats: int) -> str:
        """Returns what a key compares of so many copies, the first on a map of this side.

        That is `form`, without a padding as TensorFlow's that comes to the default's on such a map.
        """
        window = self.window
        if window.padding == "same" and window.is_symmetric(size, repeats):
            return self.replace(padding=None).form
        return self.form

    def inner(self, x: Shape) -> tuple[Shape, ...]:
        """Returns the maps inside it that others may read, when it reads `x`: one if `expands`."""
        return ()

    def check(self, name: str, x: Shape, out: Shape, repeats: int) -> None:
        """Refuses shapes that don't fit.

        Args:
            name: of the block, for messages.
            x: what it reads.
            out: what it gives.
            repeats: copies that follow each other.

        Raises:
            GenomeError: names the block, and what would be legal.
        """
        if repeats > 1 and not self.window.keeps_size:
            raise GenomeError(
                f"block {name!r}: every copy of this {self.type} would change the size; "
                "legal: repeats 1, or an odd kernel with the padding left out"
            )

    def record(self, tape: Tape, x: Value, width: int, stride: int) -> tuple[Value, ...]:
        """Records one copy.

        Args:
            tape: what its operators are added to.
            x: what it reads.
            width: that `width_at` gave.
            stride: of this copy; copies after the first have 1.

        Returns:
            What it gives, then the maps of `inner`.

        Raises:
            GenomeError: when its operators aren't known.
        """
        raise unknown_operators(f"a part of type {self.type!r}")


def check_shortcut(name: str, x: Shape, out: Shape) -> None:
    """Refuses to add a block's input to an output of another shape.

    Raises:
        GenomeError: names both shapes.
    """
    if x[:2] != out[:2]:
        raise GenomeError(
            f"block {name!r} adds its input of {x.channels}×{x.size}px to its "
            f"output of {out.channels}×{out.size}px; legal: equal shapes, or no shortcut"
        )


def unknown_operators(what: str) -> GenomeError:
    """Makes the refusal of a part whose operators aren't known."""
    return GenomeError(
        f"{what} can't be taken apart into operators, so it has neither costs nor a time; its "
        "class needs a record()"
    )


def max_pooled(
    tape: Tape, x: Value, kernel: int, stride: int, size: int, padding: int | None = None
) -> Value:
    """Records max pooling to a size; padding None pads as TensorFlow does."""
    total = max((size - 1) * stride + kernel - x.size, 0)
    before = total // 2 if padding is None else padding
    return tape.max_pool(x, kernel, stride, size, (before, max(total - before, 0)))
