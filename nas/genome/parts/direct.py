"""The edge that changes nothing: merges, and blocks behind each other."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.parts.resample import Resample
from nas.genome.tape import Tape, Value


class Direct(Resample):
    """The parent's map as it is: same size and, under a sum, same channels."""

    type: Literal["direct"] = "direct"

    changes: ClassVar[bool] = False

    def record(self, tape: Tape, x: Value, source: Shape, target: Shape, middle: int) -> Value:
        """Records nothing."""
        return x
