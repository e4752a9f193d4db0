"""Edges: one file per way of resampling a parent's map to its reader."""

from __future__ import annotations

from torch import nn

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.blocks import AlphaResample
from nas.genome.network import BatchNorm
from nas.models.edges.alpha import Alpha


def build_edge(unit: Unit, norm: BatchNorm) -> nn.Module:
    """The module of a unit of kind ``edge``; ``(N, C, S, S)`` to ``(N, C', S', S')``."""
    if isinstance(unit.part, AlphaResample):
        return Alpha(unit, unit.part, norm)
    raise GenomeError(f"no model for an edge of type {unit.part.type!r}; legal: alpha")  # type: ignore[attr-defined]
