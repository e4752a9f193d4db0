"""SpineNet's endpoints."""

from __future__ import annotations

from nas.genome import Unit
from nas.genome import parts as schema
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm


class Endpoint(ConvNorm):
    """1×1, batch norm and activation; `(N, C, S, S)` to `(N, width, S, S)`."""

    def __init__(self, part: schema.Endpoints, unit: Unit, norm: BatchNorm) -> None:
        super().__init__(unit.ins[0].channels, part.width, 1, norm, part.activation)
