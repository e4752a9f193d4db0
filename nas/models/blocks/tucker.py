"""MobileDets' bottleneck that narrows, filters and widens again."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.genome.shapes import compressed
from nas.models.layers import ConvNorm


class Tucker(nn.Module):
    """1×1 to a share of the input, full k×k (the stride is here) to a share of the output, 1×1.

    Where the genome has a shortcut, the input is added; nothing is activated after the sum.
    """

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        op = unit.part
        assert isinstance(op, schema.Tucker)
        first = compressed(in_channels, op.input_ratio)
        second = compressed(unit.width, op.output_ratio)
        stride = op.stride if copy == 0 else 1
        self.compress = ConvNorm(in_channels, first, 1, norm, op.activation)
        self.conv = ConvNorm(first, second, op.kernel, norm, op.activation, stride)
        self.project = ConvNorm(second, unit.width, 1, norm)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C_in, S, S)`` to ``(N, C, S / stride, S / stride)``."""
        out: Tensor = self.project(self.conv(self.compress(x)))
        return x + self.dropped(out) if self.shortcut else out
