"""Mobile bottlenecks: widen, filter depthwise or with one full convolution, project."""

from __future__ import annotations

from torch import Tensor, nn

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.genome.shapes import expanded
from nas.models.blocks.squeeze_excite import squeeze_excite
from nas.models.layers import ConvNorm
from nas.models.widening import can_widen, widen


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise k×k (the stride is here), squeeze-excite, 1×1 projection.

    Where the genome has a shortcut, the input is added; nothing is activated after the sum.
    """

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        op = unit.part
        assert isinstance(op, schema.InvertedResidual)
        wide, act = expanded(in_channels, op.expansion), op.activation
        stride = op.stride if copy == 0 else 1
        self.expand = (
            nn.Identity() if op.expansion == 1 else ConvNorm(in_channels, wide, 1, norm, act)
        )
        self.depthwise = ConvNorm(
            wide, wide, op.kernel, norm, act, stride, dilation=op.dilation, groups=wide
        )
        self.attend = squeeze_excite(op.squeeze_excite, in_channels, wide)
        self.project = ConvNorm(wide, unit.width, 1, norm, op.project_activation)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C_in, S, S)`` to ``(N, C, S / stride, S / stride)``."""
        return self._narrowed(x, self._filtered(x, keep=False)[0])

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the expanded map ``(N, C_wide, S, S)`` that it was made from."""
        filtered, wide = self._filtered(x, keep=True)
        return self._narrowed(x, filtered), wide

    def _filtered(self, x: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        filters, *rest = self.depthwise
        if can_widen(x, self.expand):
            out, wide = widen(x, self.expand, filters, keep)
        else:
            wide = self.expand(x)
            out = filters(wide)
        for layer in rest:
            out = layer(out)
        return out, wide

    def _narrowed(self, x: Tensor, filtered: Tensor) -> Tensor:
        out: Tensor = self.project(self.attend(filtered))
        return x + self.dropped(out) if self.shortcut else out


class FusedInvertedResidual(nn.Module):
    """Full k×k to the expanded width (the stride is here), squeeze-excite, 1×1 projection."""

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        op = unit.part
        assert isinstance(op, schema.FusedInvertedResidual)
        wide = expanded(in_channels, op.expansion)
        stride = op.stride if copy == 0 else 1
        self.expand = ConvNorm(in_channels, wide, op.kernel, norm, op.activation, stride)
        self.attend = squeeze_excite(op.squeeze_excite, in_channels, wide)
        self.project = ConvNorm(wide, unit.width, 1, norm)
        self.shortcut = op.shortcut
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C_in, S, S)`` to ``(N, C, S / stride, S / stride)``."""
        out: Tensor = self.project(self.attend(self.expand(x)))
        return x + self.dropped(out) if self.shortcut else out
