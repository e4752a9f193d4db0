"""Pooling of a tapped map."""

from __future__ import annotations

import math
from typing import Literal

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.part import Stride
from nas.genome.parts.transform import Transform
from nas.genome.tape import Tape, Value


class Pool(Transform):
    """Pooling of a tapped map, kernel equal to stride, no padding."""

    type: Literal["pool"] = "pool"
    mode: Literal["max", "average"] = "max"
    stride: Stride = 2

    def shape(self, tap: str, block: str, x: Shape) -> Shape:
        """Returns a map of a stride that is so many times as large."""
        if x.size < self.stride:
            raise GenomeError(
                f"{tap} pools {x.size} px of {block!r} by {self.stride}; "
                "legal: a larger input or a smaller stride"
            )
        return Shape(x.channels, x.size // self.stride, x.level + int(math.log2(self.stride)))

    def record(self, tape: Tape, x: Value) -> Value:
        """Records one pooling."""
        if self.mode == "average":
            return tape.average_pool(x, self.stride)
        return tape.max_pool(x, self.stride, self.stride, x.size // self.stride, (0, 0))
