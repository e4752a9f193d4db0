"""Necks: one file per type of the schema."""

from __future__ import annotations

from torch import nn

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.necks import RFCR, Endpoints, Pool
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm
from nas.models.necks import rfcr


def build_neck(unit: Unit, norm: BatchNorm) -> nn.Module:
    """The module of a unit of kind ``tap``, ``endpoint`` or ``neck``.

    A pooled tap and an endpoint (1×1, batch norm, activation) make one map of one map
    ``(N, C, S, S)``; a neck makes a tuple of maps of all maps.
    """
    part = unit.part
    if isinstance(part, Pool):
        return nn.MaxPool2d(part.stride) if part.mode == "max" else nn.AvgPool2d(part.stride)
    if isinstance(part, Endpoints):
        return ConvNorm(unit.ins[0].channels, part.width, 1, norm, part.activation)
    if isinstance(part, RFCR):
        return rfcr.RFCR(unit, part, norm)
    raise GenomeError(
        f"no model for {unit.kind} {unit.name!r}; legal to build: pool, endpoints, rfcr"
    )
