"""ResNet's basic block as SpineNet uses it."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import parts as schema
from nas.models.activations import activation
from nas.models.layers import ConvNorm
from nas.models.registry import Site


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions of C channels plus the input; activation after the sum."""

    def __init__(self, op: schema.Residual, at: Site) -> None:
        super().__init__()
        channels, width, stride, norm, dropped = at
        act = op.activation
        keeps = channels == width and stride == 1
        self.project = nn.Identity() if keeps else ConvNorm(channels, width, 1, norm, stride=stride)
        self.conv0 = ConvNorm(channels, width, 3, norm, act, stride=stride)
        self.conv1 = ConvNorm(width, width, 3, norm)
        self.dropped = dropped
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        branch = self.dropped(self.conv1(self.conv0(x)))
        out: Tensor = self.act(branch + self.project(x))
        return out
