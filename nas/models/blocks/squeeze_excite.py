"""Channel attention inside mobile blocks."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.ops import SqueezeExcitation

from nas.genome import parts as schema
from nas.models.activations import activation


def squeeze_excite(op: schema.SqueezeExcite | None, channels: int, wide: int) -> nn.Module:
    """Makes mean over the map, 1×1, activation, 1×1, gate, scale; shapes `(N, wide, S, S)`.

    Args:
        op: ratio and activations; None leaves the map as it is.
        channels: of the map that the block reads.
        wide: channels of the map that is scaled.
    """
    if op is None:
        return nn.Identity()
    return SqueezeExcitation(
        wide,
        op.squeezed(channels, wide),
        activation=partial(activation, op.activation),
        scale_activation=partial(activation, op.gate),
    )
