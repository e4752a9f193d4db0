"""SpineNet's cross-scale connection: reduce, change scale, expand."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import AlphaResample
from nas.models.edges.upsampling import projected_to
from nas.models.layers import ConvNorm, max_pool_same


class Alpha(nn.Module):
    """1×1 to α of the parent's base width, down or up, 1×1 to the reader's width.

    Down: one strided 3×3, then at most one max-pool (`AlphaResample.pooling`).

    Up: nearest, after the last 1×1 where it can.
    """

    def __init__(self, resample: AlphaResample, unit: Unit, norm: BatchNorm) -> None:
        super().__init__()
        source, target = unit.ins[0], unit.outs[0]
        act = resample.activation
        self.reduce = ConvNorm(source.channels, unit.middle, 1, norm, act)
        self.down = (
            ConvNorm(unit.middle, unit.middle, 3, norm, act, stride=2)
            if target.level > source.level
            else None
        )
        self.expand = ConvNorm(unit.middle, target.channels, 1, norm)
        self.pool = resample.pooling(source.size, target.size)
        self.size = target.size

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C', S', S')` from `(N, C, S, S)`."""
        x = self.reduce(x)
        if self.down is not None:
            x = self._pool(self.down(x))
        return projected_to(x, self.expand, self.size)

    def _pool(self, x: Tensor) -> Tensor:
        """Pools the rest of the way down, where there is any."""
        if self.pool is None:
            return x
        kernel, stride, padding = self.pool
        if padding is None:
            return max_pool_same(x, kernel, stride)
        return F.max_pool2d(x, kernel, stride, padding)
