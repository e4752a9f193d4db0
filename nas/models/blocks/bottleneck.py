"""ResNet's bottleneck as SpineNet uses it."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import parts as schema
from nas.models.activations import activation
from nas.models.layers import ConvNorm
from nas.models.registry import Site


class BottleneckBlock(nn.Module):
    """1×1 to C, 3×3 (the stride is here), 1×1 to 4C, plus the input; activation after the sum.

    The shortcut is a 1×1 projection only where width or size changes.
    """

    def __init__(self, op: schema.Bottleneck, at: Site) -> None:
        super().__init__()
        channels, width, stride, norm, dropped = at
        act, wide = op.activation, op.channels(channels, width)
        keeps = channels == wide and stride == 1
        self.project = nn.Identity() if keeps else ConvNorm(channels, wide, 1, norm, stride=stride)
        self.reduce = ConvNorm(channels, width, 1, norm, act)
        self.conv = ConvNorm(width, width, 3, norm, act, stride=stride)
        self.expand = ConvNorm(width, wide, 1, norm)
        self.dropped = dropped
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, 4C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        branch = self.dropped(self.expand(self.conv(self.reduce(x))))
        out: Tensor = self.act(branch + self.project(x))
        return out
