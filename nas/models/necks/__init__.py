"""Necks: one file per type of the schema."""

from __future__ import annotations

from torch import nn

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.models.registry import NECKS, module_class


def build_neck(unit: Unit, norm: BatchNorm) -> nn.Module:
    """Makes the module of a unit of kind `tap`, `endpoint` or `neck`.

    A pooled tap and an endpoint (1×1, batch norm, activation) make one map of one map
    `(N, C, S, S)`; a neck makes a tuple of maps of all maps.
    """
    make = module_class(NECKS, unit.part, f"{unit.kind} {unit.name}")
    neck: nn.Module = make(unit.part, unit, norm)
    return neck
