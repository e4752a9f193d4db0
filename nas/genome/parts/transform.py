"""What may become of a tapped map before the neck reads it."""

from __future__ import annotations

import math
from typing import Literal

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.part import Part, Positive, Stride
from nas.genome.parts.operation import unknown_operators
from nas.genome.tape import Tape, Value


class Transform(Part):
    """From one map to one map."""

    type: str

    def shape(self, name: str, x: Shape) -> Shape:
        """What it gives.

        Args:
            name: of tap and block, for messages.
            x: what it reads.

        Raises:
            GenomeError: when nothing would be left.
        """
        return x

    def record(self, tape: Tape, x: Value) -> Value:
        """Records its operators.  Raises GenomeError when they aren't known."""
        raise unknown_operators(f"a part of type {self.type!r}")


class L2Norm(Transform):
    """Unit norm over channels times one learnt factor per channel (SSD's conv4_3)."""

    type: Literal["l2_norm"] = "l2_norm"
    scale: Positive = 20.0

    untimed = frozenset({"scale"})

    def check_buildable(self, name: str) -> None:
        """Refuses it."""
        raise GenomeError(
            f"{name}: no model yet for transform l2_norm; legal to build: pool, or none"
        )

    def record(self, tape: Tape, x: Value) -> Value:
        """One operator."""
        return tape.unit_norm(x)


class Pool(Transform):
    """Pooling of a tapped map, kernel equal to stride, no padding."""

    type: Literal["pool"] = "pool"
    mode: Literal["max", "average"] = "max"
    stride: Stride = 2

    def shape(self, name: str, x: Shape) -> Shape:
        """A map of a stride that is so many times as large."""
        if x.size < self.stride:
            index, block = name.split(maxsplit=1)
            raise GenomeError(
                f"tap {index} pools {x.size} px of {block} by {self.stride}; "
                "legal: a larger input or a smaller stride"
            )
        return Shape(x.channels, x.size // self.stride, x.level + int(math.log2(self.stride)))

    def record(self, tape: Tape, x: Value) -> Value:
        """One pooling."""
        if self.mode == "average":
            return tape.average_pool(x, self.stride)
        return tape.max_pool(x, self.stride, self.stride, x.size // self.stride, (0, 0))
