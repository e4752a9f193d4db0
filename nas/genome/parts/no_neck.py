"""No neck at all."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.genome.maps import Shape
from nas.genome.parts.neck import Neck


class NoNeck(Neck):
    """Taps go to the head as they are."""

    type: Literal["none"] = "none"

    makes: ClassVar[Literal["nothing", "unit per map", "one unit"]] = "nothing"
    reader: ClassVar[str] = "the detection head"

    def shapes(self, maps: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Returns the same maps."""
        return maps
