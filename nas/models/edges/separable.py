"""SpineNet-Mobile's cross-scale connection: depthwise steps down or nearest up, then one 1×1."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import SeparableResample
from nas.models.edges.upsampling import projected_to
from nas.models.layers import ConvNorm


class Separable(nn.Module):
    """As many strided depthwise 3×3 as there are octaves down, and a linear 1×1.

    Where sizes don't halve evenly, nearest resizing does the rest, as in `Alpha`.
    Source: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet_mbconv.py.
    """

    def __init__(self, resample: SeparableResample, unit: Unit, norm: BatchNorm) -> None:
        super().__init__()
        source, target = unit.ins[0], unit.outs[0]
        channels, act = source.channels, resample.activation
        self.down = nn.Sequential(
            *(
                ConvNorm(channels, channels, 3, norm, act, stride=2, groups=channels)
                for _ in range(target.level - source.level)
            )
        )
        self.project = ConvNorm(channels, target.channels, 1, norm)
        self.size = target.size

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C', S', S')` from `(N, C, S, S)`."""
        return projected_to(self.down(x), self.project, self.size)
