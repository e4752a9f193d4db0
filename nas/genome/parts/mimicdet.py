"""MimicDet's head: refinement, a one-stage student, and a two-stage teacher for training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.part import Kernel, Part, Width
from nas.genome.parts.anchors import Anchors
from nas.genome.parts.head import HeadPart, Postprocess
from nas.genome.parts.tables import ANCHORS


class Teacher(Part):
    """MimicDet's two-stage head: RoI features from the finer maps; only there in training."""

    levels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    pool: Annotated[int, Field(ge=1, le=32)] = 7
    width: Width = 256
    hidden: Width = 1024


class MimicDetHead(HeadPart):
    """Refinement, a one-stage student with deformable convolutions, and a teacher for training.

    `student_levels` and `Teacher.levels` are positions in the neck's maps; anchors belong to
    the student's levels, one a place.
    """

    type: Literal["mimicdet"] = "mimicdet"
    width: Width = 256
    hidden: Width = 1024
    first_kernel: Kernel = 3
    other_kernel: Kernel = 5
    offset_hidden: tuple[Width, Width] = (64, 128)
    anchors: Annotated[tuple[Annotated[Anchors, ANCHORS], ...], Field(min_length=1)]
    student_levels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    teacher: Teacher | None = None
    postprocess: Postprocess = Postprocess(score=0.005, candidates=1000, iou=0.6, detections=100)

    shares: ClassVar[bool] = True
    trains_apart: ClassVar[bool] = True

    def anchored(self, maps: int, training_only: Collection[int]) -> int:
        """Returns the number of the student's maps; the student is what is shipped."""
        positions = set(self.student_levels) | set(self.teacher.levels if self.teacher else ())
        if max(positions) >= maps:
            raise GenomeError(f"head mimicdet reads map {max(positions)}; legal: 0 to {maps - 1}")
        # An RFCR neck, whose maps aren't the taps, has no tap for training alone.
        unshipped = [i for i in self.student_levels if i in training_only]
        if unshipped:
            raise GenomeError(f"head mimicdet: the student reads training-only {unshipped}")
        return len(self.student_levels)

    def check_buildable(self, name: str) -> None:
        """Refuses it."""
        raise GenomeError(
            "head mimicdet: no model yet for this head; legal to build: retinanet, ssd"
        )

    def with_width(self, width: int) -> MimicDetHead:
        """Returns the head with towers of this width."""
        return self.replace(width=width)
