"""ResNet's basic block as SpineNet uses it."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm, activation


class Residual(nn.Module):
    """Two 3×3 convolutions of C channels plus the input; activation after the sum."""

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        op = unit.part
        assert isinstance(op, schema.Residual)
        width, act = unit.width, op.activation
        stride = op.stride if copy == 0 else 1
        keeps = in_channels == width and stride == 1
        self.project = (
            nn.Identity() if keeps else ConvNorm(in_channels, width, 1, norm, stride=stride)
        )
        self.conv0 = ConvNorm(in_channels, width, 3, norm, act, stride=stride)
        self.conv1 = ConvNorm(width, width, 3, norm)
        self.dropped = dropped
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C_in, S, S)`` to ``(N, C, S / stride, S / stride)``."""
        branch = self.dropped(self.conv1(self.conv0(x)))
        out: Tensor = self.act(branch + self.project(x))
        return out
