"""SSD's head: predictors of each map's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.part import Activation, Kernel, Positive
from nas.genome.parts.anchors import Anchors, DefaultBoxes
from nas.genome.parts.head import HeadPart, Postprocess, by_anchor
from nas.genome.parts.tables import ANCHORS
from nas.genome.tape import Tape, Value


class SSDHead(HeadPart):
    """One predictor pair per map, nothing shared: full convolutions (SSD) or separable (SSDlite).

    `box_values` 8 predicts a log variance and a mean per coordinate (BiDet).
    """

    type: Literal["ssd"] = "ssd"
    separable: bool = False
    kernel: Kernel = 3
    activation: Activation = "relu6"
    box_values: Literal[4, 8] = 4
    anchors: Annotated[tuple[Annotated[Anchors, ANCHORS], ...], Field(min_length=1)]
    negatives: Positive = 3.0  # hardest negatives kept per positive
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    postprocess: Postprocess = Postprocess(score=0.001, candidates=300, iou=0.55, detections=300)

    def check_buildable(self, name: str) -> None:
        """Refuses octave anchors, variances, and kernels that change the size."""
        if not all(isinstance(anchors, DefaultBoxes) for anchors in self.anchors):
            raise GenomeError(
                "head ssd: no model for octave anchors; legal to build: default_boxes"
            )
        if self.box_values != 4:
            raise GenomeError(
                f"head ssd: no model yet for box_values {self.box_values}, which predict a "
                "variance too; legal to build: 4"
            )
        if self.kernel % 2 == 0:
            raise GenomeError(
                f"head ssd: kernel {self.kernel} would change the maps' size; legal: an odd one"
            )

    def record(self, tape: Tape, maps: Sequence[Value], num_classes: int) -> tuple[Value, ...]:
        """Records a class and a box predictor on every map."""

        def predicted(x: Value, position: int, outputs: int) -> Value:
            kernel = self.kernel
            if self.separable:
                x, kernel = tape.depthwise(x, self.kernel, 1, self.activation), 1
            return tape.conv(x, outputs, kernel, norm=False, bias=True)

        counts = [anchors.count for anchors in self.anchors]
        return by_anchor(tape, maps, counts, (num_classes, self.box_values), predicted)
