"""MobileDets' bottleneck that narrows, filters and widens again."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import parts as schema
from nas.genome.widths import compressed
from nas.models.layers import ConvNorm
from nas.models.registry import Site


class TuckerBlock(nn.Module):
    """1×1 to a share of the input, full k×k (the stride is here) to a share of the output, 1×1.

    Where the genome has a shortcut, the input is added; nothing is activated after the sum.
    """

    def __init__(self, op: schema.Tucker, at: Site) -> None:
        super().__init__()
        channels, width, stride, norm, dropped = at
        first = compressed(channels, op.input_ratio)
        second = compressed(width, op.output_ratio)
        self.compress = ConvNorm(channels, first, 1, norm, op.activation)
        self.conv = ConvNorm(first, second, op.kernel, norm, op.activation, stride)
        self.project = ConvNorm(second, width, 1, norm)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        out: Tensor = self.project(self.conv(self.compress(x)))
        return x + self.dropped(out) if self.shortcut else out
