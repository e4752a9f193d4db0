"""What holds for the whole network: input, batch norm, scale of widths, truncation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.genome.part import Fraction, Name, Part, Positive
from nas.genome.widths import divisible

Triple = tuple[float, float, float]


class Input(Part):
    """What the network sees: a square of `size` pixels, and how a picture becomes one.

    `letterbox` keeps the aspect ratio and pads right and bottom; `stretch` doesn't.
    `mean` and `std` are for RGB in 0…1.
    """

    size: Annotated[int, Field(ge=32, le=4096)] = 640
    resize: Literal["letterbox", "stretch"] = "letterbox"
    mean: Triple = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)


class BatchNorm(Part):
    """Batch norm everywhere; `momentum` as PyTorch counts it (0.01 is TensorFlow's 0.99)."""

    eps: Positive = 1e-3
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.01


class Scale(Part):
    """How base widths become widths: `divisor` 1 truncates, others round to a multiple."""

    width: Fraction = 1.0
    divisor: Annotated[int, Field(ge=1, le=64)] = 1

    def width_of(self, base: int) -> int:
        """Returns a base width under the scale: truncated, or rounded to a multiple."""
        exact = base * self.width
        if self.divisor == 1:
            return max(1, int(exact))
        return divisible(exact, self.divisor)


class Truncation(Part):
    """Removes the blocks listed after `after` up to and with `through`.

    Whoever read one of them reads `after` instead.
    """

    after: Name
    through: Name
