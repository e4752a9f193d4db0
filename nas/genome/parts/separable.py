"""SpineNet-Mobile's cross-scale connection: depthwise steps down or nearest up, then one 1×1."""

from __future__ import annotations

from typing import Literal

from nas.genome.maps import Shape
from nas.genome.part import Activation
from nas.genome.parts.cross_scale import CrossScaleResample
from nas.genome.parts.resample import projected
from nas.genome.tape import Tape, Value


class SeparableResample(CrossScaleResample):
    """SpineNet-Mobile's resampling: depthwise strided 3×3 steps down, nearest up, one 1×1."""

    type: Literal["separable"] = "separable"
    activation: Activation = "swish"

    def record(self, tape: Tape, x: Value, source: Shape, target: Shape, middle: int) -> Value:
        """Records a depthwise step for each octave down, a 1×1, and nearest neighbours up."""
        for _ in range(target.level - source.level):
            x = tape.depthwise(x, 3, 2, self.activation)
        return projected(tape, x, target)
