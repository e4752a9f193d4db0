"""Edges: one file per way of resampling a parent's map to its reader."""

from __future__ import annotations

from torch import nn

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.blocks import AlphaResample, SeparableResample
from nas.genome.network import BatchNorm
from nas.models.edges.alpha import Alpha
from nas.models.edges.separable import Separable


def build_edge(unit: Unit, norm: BatchNorm) -> nn.Module:
    """The module of a unit of kind ``edge``; ``(N, C, S, S)`` to ``(N, C', S', S')``."""
    if isinstance(unit.part, AlphaResample):
        return Alpha(unit, unit.part, norm)
    if isinstance(unit.part, SeparableResample):
        return Separable(unit, unit.part, norm)
    kind = getattr(unit.part, "type", unit.kind)
    raise GenomeError(f"no model for an edge of type {kind!r}; legal: alpha, separable")
