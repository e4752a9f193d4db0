"""Convolution, batch norm and activation as one block: stems."""

from __future__ import annotations

from torch import nn

from nas.genome import parts as schema
from nas.models.activations import activation
from nas.models.layers import batch_norm, convolution
from nas.models.registry import Site


class ConvBlock(nn.Sequential):
    """A real convolution without shortcut; `(N, C_in, S, S)` to `(N, C, S', S')`."""

    def __init__(self, op: schema.Conv, at: Site) -> None:
        layers: list[nn.Module] = [
            convolution(
                at.channels,
                at.width,
                op.kernel,
                at.stride,
                op.padding,
                op.dilation,
                bias=op.bias,
            )
        ]
        if op.norm:
            layers.append(batch_norm(at.width, at.norm))
        if op.activation != "none":
            layers.append(activation(op.activation))
        super().__init__(*layers)
