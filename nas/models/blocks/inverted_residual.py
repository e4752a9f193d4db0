"""Mobile bottlenecks: expand, filter depthwise, project."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import parts as schema
from nas.genome.widths import expanded
from nas.models.blocks.squeeze_excite import squeeze_excite
from nas.models.layers import ConvNorm
from nas.models.registry import Site


class InvertedResidualBlock(nn.Module):
    """1×1 expansion, depthwise k×k (the stride is here), squeeze-excite, 1×1 projection.

    Where the genome has a shortcut, the input is added; nothing is activated after the sum.
    """

    def __init__(self, op: schema.InvertedResidual, at: Site) -> None:
        super().__init__()
        channels, width, stride, norm, dropped = at
        wide, act = expanded(channels, op.expansion), op.activation
        self.expand = nn.Identity() if op.expansion == 1 else ConvNorm(channels, wide, 1, norm, act)
        self.depthwise = ConvNorm(
            wide,
            wide,
            op.kernel,
            norm,
            act,
            stride,
            dilation=op.dilation,
            groups=wide,
            padding=op.padding,
        )
        self.attend = squeeze_excite(op.squeeze_excite, channels, wide)
        self.project = ConvNorm(wide, width, 1, norm, op.project_activation)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output, and the expanded map `(N, C_wide, S, S)` that it was made from."""
        wide = self.expand(x)
        out = self.project(self.attend(self.depthwise(wide)))
        return (x + self.dropped(out) if self.shortcut else out), wide
