"""Edges: one file per way of resampling a parent's map to its reader."""

from __future__ import annotations

from torch import nn

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.models.registry import EDGES, module_class


def build_edge(unit: Unit, norm: BatchNorm) -> nn.Module:
    """Makes the module of a unit of kind `edge`; `(N, C, S, S)` to `(N, C', S', S')`."""
    edge: nn.Module = module_class(EDGES, unit.part, f"edge {unit.name}")(unit.part, unit, norm)
    return edge
