"""ResNet's bottleneck as SpineNet uses it."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm, activation


class Bottleneck(nn.Module):
    """1×1 to C, 3×3 (the stride is here), 1×1 to 4C, plus the input; activation after the sum.

    The shortcut is a 1×1 projection only where width or size changes.
    """

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        op = unit.part
        assert isinstance(op, schema.Bottleneck)
        width, act = unit.width, op.activation
        stride = op.stride if copy == 0 else 1
        keeps = in_channels == 4 * width and stride == 1
        self.project = (
            nn.Identity() if keeps else ConvNorm(in_channels, 4 * width, 1, norm, stride=stride)
        )
        self.reduce = ConvNorm(in_channels, width, 1, norm, act)
        self.conv = ConvNorm(width, width, 3, norm, act, stride=stride)
        self.expand = ConvNorm(width, 4 * width, 1, norm)
        self.dropped = dropped
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C_in, S, S)`` to ``(N, 4C, S / stride, S / stride)``."""
        branch = self.dropped(self.expand(self.conv(self.reduce(x))))
        out: Tensor = self.act(branch + self.project(x))
        return out
