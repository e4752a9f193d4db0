"""RetinaNet's head as the SpineNet authors configure it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.part import Activation, Positive, Width
from nas.genome.parts.anchors import Anchors, OctaveAnchors
from nas.genome.parts.head import HeadPart, Postprocess, by_anchor
from nas.genome.parts.tables import ANCHORS
from nas.genome.tape import Tape, Value


class RetinaNetHead(HeadPart):
    """Two towers shared over levels, with batch norm of each level's own.

    Loss and matching constants: tensorflow/tpu, models/official/detection/configs and
    modeling/losses.py; `postprocess` as there.
    """

    type: Literal["retinanet"] = "retinanet"
    width: Width = 256
    depth: Annotated[int, Field(ge=0, le=16)] = 4
    separable: bool = False
    activation: Activation = "relu"
    anchors: Annotated[tuple[Annotated[Anchors, ANCHORS], ...], Field(min_length=1)]
    focal_alpha: Positive = 0.25
    focal_gamma: Annotated[float, Field(ge=0)] = 1.5
    huber_delta: Positive = 0.1
    box_weight: Positive = 50.0
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    postprocess: Postprocess = Postprocess()

    shares: ClassVar[bool] = True

    def check(self, maps: Sequence[Shape], training_only: Collection[int]) -> None:
        """Refuses levels of different numbers of anchors, too."""
        super().check(maps, training_only)
        counts = sorted({anchors.count for anchors in self.anchors})
        if len(counts) > 1:
            raise GenomeError(
                f"head retinanet shares its towers over levels with {counts} anchors a place; "
                "legal: the same number on every level"
            )

    def check_buildable(self, name: str) -> None:
        """Refuses default boxes."""
        if not all(isinstance(anchors, OctaveAnchors) for anchors in self.anchors):
            raise GenomeError(
                "head retinanet: no model for default boxes; legal to build: octave anchors"
            )

    def with_width(self, width: int) -> RetinaNetHead:
        """Returns the head with towers of this width."""
        return self.replace(width=width)

    def record(self, tape: Tape, maps: Sequence[Value], num_classes: int) -> tuple[Value, ...]:
        """Records two towers on every map; maps after the first have the weights of the first."""

        def predicted(x: Value, position: int, outputs: int) -> Value:
            for _ in range(self.depth):
                x = self._conv(tape, x, self.width, shared=position > 0, hidden=True)
            return self._conv(tape, x, outputs, shared=position > 0, hidden=False)

        counts = [anchors.count for anchors in self.anchors]
        return by_anchor(tape, maps, counts, (num_classes, 4), predicted)

    def _conv(self, tape: Tape, x: Value, channels: int, shared: bool, hidden: bool) -> Value:
        """Records a 3×3, full or separable, with bias; hidden ones have norm and activation."""
        kernel = 3
        if self.separable:
            x, kernel = tape.depthwise(x, 3, norm=False, shared=shared), 1
        activation = self.activation if hidden else "none"
        return tape.conv(
            x, channels, kernel, activation=activation, norm=hidden, bias=True, shared=shared
        )
