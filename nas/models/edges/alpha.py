"""SpineNet's cross-scale connection: reduce, change scale, expand."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit
from nas.genome.blocks import AlphaResample
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm, max_pool_same


class Alpha(nn.Module):
    """1×1 to α of the parent's base width, down or up, 1×1 to the reader's width.

    Down: one strided 3×3, then at most one max-pool, as in the authors' code, which decides by
    real sizes: where they don't divide, the pool halves and nearest resizing does the rest.

    Up: nearest.  The last 1×1 and its batch norm come before the repetition when that is by a
    whole number: repeated pixels change neither the convolution nor a batch's mean and variance,
    and up to 64 times fewer of them are computed.  (The running variance alone keeps Bessel's
    factor of the smaller map.)
    """

    def __init__(self, unit: Unit, resample: AlphaResample, norm: BatchNorm) -> None:
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
        self.same = resample.pool_padding == "same"
        self.sizes = (source.size, target.size)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, S, S)`` to ``(N, C', S', S')``."""
        size, target = self.sizes
        x = self.reduce(x)
        if self.down is not None:
            x = self._pool(self.down(x))
            if x.shape[-1] != target:
                x = F.interpolate(x, size=(target, target), mode="nearest")
        elif target % size != 0:
            x = F.interpolate(x, size=(target, target), mode="nearest")
        out: Tensor = self.expand(x)
        if out.shape[-1] != target:
            out = F.interpolate(out, scale_factor=float(target // size), mode="nearest")
        return out

    def _pool(self, x: Tensor) -> Tensor:
        size, target = self.sizes
        if size // target <= 2:
            return x
        stride = size // target // 2 if size % target == 0 else 2
        kernel = 3 if size / target <= 4 else 5
        if self.same:
            return max_pool_same(x, kernel, stride)
        return F.max_pool2d(x, kernel, stride, padding=kernel // 2)
