"""Convolution, batch norm and activation as one block: stems."""

from __future__ import annotations

from torch import nn

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.models.layers import activation, batch_norm


class Conv(nn.Sequential):
    """A real convolution without shortcut; ``(N, C_in, S, S)`` to ``(N, C, S', S')``."""

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        op = unit.part
        assert isinstance(op, schema.Conv)
        padding = op.padding
        if padding is None:
            padding = op.dilation * (op.kernel - 1) // 2
        convolution = nn.Conv2d(
            in_channels,
            unit.width,
            op.kernel,
            op.stride if copy == 0 else 1,
            padding,
            op.dilation,
            bias=op.bias,
        )
        layers: list[nn.Module] = [convolution]
        if op.norm:
            layers.append(batch_norm(unit.width, norm))
        if op.activation != "none":
            layers.append(activation(op.activation))
        super().__init__(*layers)
