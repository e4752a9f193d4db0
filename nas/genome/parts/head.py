"""Heads, from maps to detections. What every type has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.part import Part
from nas.genome.parts.anchors import Anchors
from nas.genome.parts.operation import unknown_operators
from nas.genome.parts.tables import HEADS
from nas.genome.tape import Tape, Value


class Postprocess(Part):
    """From scores to detections: threshold, candidates before NMS, NMS, detections kept."""

    score: Annotated[float, Field(ge=0, lt=1)] = 0.05
    candidates: Annotated[int, Field(ge=1)] = 5000
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    detections: Annotated[int, Field(ge=1)] = 100


class HeadPart(Part):
    """From maps to detections, with the constants of its losses and post-processing.

    Attributes:
        shares: whether its parts are shared over maps, which then need equal channels.
        trains_apart: whether it has a part for training alone, so that taps may be, too.
        postprocess: which detections it gives; a field of every head. The check of an exported
            file lowers its `score` until there is something to compare.
    """

    type: str

    shares: ClassVar[bool] = False
    trains_apart: ClassVar[bool] = False

    if TYPE_CHECKING:
        anchors: tuple[Anchors, ...]  # of heads on dense anchors, as is the next
        match_iou: float
        postprocess: Postprocess

    def anchored(self, maps: int, training_only: Collection[int]) -> int:
        """Returns how many of the maps have anchors.

        Args:
            maps: that it reads.
            training_only: positions of those for training alone.

        Raises:
            GenomeError: when it can't read these, or has no part for training alone.
        """
        if training_only:
            raise GenomeError(
                f"head {self.type} has no part for training alone; legal: "
                f"{', '.join(HEADS.having('trains_apart'))}"
            )
        return maps

    def check(self, maps: Sequence[Shape], training_only: Collection[int]) -> None:
        """Refuses maps that it can't read.

        Args:
            maps: those that the neck gives.
            training_only: positions of those for training alone.

        Raises:
            GenomeError: names the head, and what would be legal.
        """
        anchored = self.anchored(len(maps), training_only)
        if hasattr(self, "anchors") and len(self.anchors) != anchored:
            raise GenomeError(
                f"head {self.type} has anchors for {len(self.anchors)} maps and reads {anchored}; "
                "give one entry per map"
            )
        channels = {shape.channels for shape in maps}
        if self.shares and len(channels) > 1:
            raise GenomeError(
                f"head {self.type} shares its towers over maps of {sorted(channels)} channels; "
                "legal: a neck with one width, such as endpoints"
            )

    def with_width(self, width: int) -> HeadPart:
        """Returns the head with towers of another width, where it has any."""
        return self

    def record(self, tape: Tape, maps: Sequence[Value], num_classes: int) -> tuple[Value, ...]:
        """Records its operators up to the raw outputs.

        Args:
            tape: what they are added to.
            maps: what it reads.
            num_classes: background counts.

        Returns:
            Raw outputs; of dense anchors logits and deltas.

        Raises:
            GenomeError: when they aren't known.
        """
        raise unknown_operators(f"a part of type {self.type!r}")


def by_anchor(
    tape: Tape,
    maps: Sequence[Value],
    counts: Sequence[int],
    ends: tuple[int, int],
    predicted: Callable[[Value, int, int], Value],
) -> tuple[Value, Value]:
    """Records class and box predictions of every map, each in one row.

    Args:
        tape: what they are added to.
        maps: what the head reads.
        counts: of each map, its anchors at one place.
        ends: numbers that an anchor's class and box predictions have.
        predicted: records the way from a map, with the map's position and the channels of what
            is predicted.
    """
    rows: tuple[list[Value], list[Value]] = ([], [])
    for position, (x, count) in enumerate(zip(maps, counts, strict=True)):
        for row, values in zip(rows, ends, strict=True):
            row.append(tape.flatten(predicted(x, position, count * values), values))
    return tape.join(rows[0]), tape.join(rows[1])
