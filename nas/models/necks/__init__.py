"""Necks: one file per type of the schema."""

from __future__ import annotations

from torch import nn

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.necks import Endpoints
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm


def build_neck(unit: Unit, norm: BatchNorm) -> nn.Module:
    """The module of a unit of kind ``endpoint``: 1×1, batch norm, activation.

    ``(N, C, S, S)`` to ``(N, width, S, S)``.
    """
    if isinstance(unit.part, Endpoints):
        channels = unit.ins[0].channels
        return ConvNorm(channels, unit.part.width, 1, norm, unit.part.activation)
    raise GenomeError(f"no model for {unit.kind} {unit.name!r}; legal neck to build: endpoints")
