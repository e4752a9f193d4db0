"""Channel attention inside mobile blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.genome.part import Activation, Fraction, Part
from nas.genome.tape import Tape, Value
from nas.genome.widths import divisible


class SqueezeExcite(Part):
    """Channel attention of `ratio` times the block's input or expanded channels."""

    ratio: Fraction = 0.25
    of: Literal["input", "expanded"] = "expanded"
    divisor: Annotated[int, Field(ge=1, le=64)] = 8  # 1: truncate, at least one channel
    activation: Activation = "relu"
    gate: Activation = "hard_sigmoid"

    def squeezed(self, channels: int, wide: int) -> int:
        """Returns the channels inside it.

        `divisor` 1 truncates (SpineNet-Mobile: `max(1, int(0.2 * channels))`); 8 is
        torchvision's rule for MobileNetV3 and, wherever a quarter is whole, MobileDets'.

        Args:
            channels: that its block reads.
            wide: that it scales, the block's expanded ones.
        """
        exact = int((channels if self.of == "input" else wide) * self.ratio)
        return max(1, exact) if self.divisor == 1 else divisible(exact, self.divisor)

    def record(self, tape: Tape, x: Value, channels: int) -> Value:
        """Records the mean, two 1×1 with bias on a single pixel, and the product.

        Args:
            tape: what its operators are added to.
            x: the expanded map, which it scales.
            channels: that its block reads.
        """
        narrow = self.squeezed(channels, x.channels)
        y = tape.conv(tape.mean(x), narrow, activation=self.activation, norm=False, bias=True)
        return tape.gate(x, tape.conv(y, x.channels, activation=self.gate, norm=False, bias=True))
