"""Mobile bottlenecks that expand by one full convolution."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import parts as schema
from nas.genome.widths import expanded
from nas.models.blocks.squeeze_excite import squeeze_excite
from nas.models.layers import ConvNorm
from nas.models.registry import Site


class FusedResidualBlock(nn.Module):
    """Full k×k to the expanded width (the stride is here), squeeze-excite, 1×1 projection."""

    def __init__(self, op: schema.FusedInvertedResidual, at: Site) -> None:
        super().__init__()
        channels, width, stride, norm, dropped = at
        wide = expanded(channels, op.expansion)
        self.expand = ConvNorm(channels, wide, op.kernel, norm, op.activation, stride)
        self.attend = squeeze_excite(op.squeeze_excite, channels, wide)
        self.project = ConvNorm(wide, width, 1, norm)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        out: Tensor = self.project(self.attend(self.expand(x)))
        return x + self.dropped(out) if self.shortcut else out
