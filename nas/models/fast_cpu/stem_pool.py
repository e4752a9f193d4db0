"""A stem's rectifier behind the max-pool that alone reads it.

The two commute, for the rectifier never falls, and behind the pool there is a quarter of the
pixels: at a stem's size that is several per cent of a training step.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from nas.genome import Genome, Unit, plan
from nas.genome.blocks import IMAGE
from nas.models.blocks import FusedBlock


@runtime_checkable
class Planned(Protocol):
    """A model of one module per unit of its genome's plan, by the units' names."""

    genome: Genome
    body: nn.ModuleDict


def pool_before_activation(model: nn.Module) -> None:
    """Moves rectifiers behind the max-pools that alone read them; nothing has parameters there."""
    if not isinstance(model, Planned):
        return
    units = plan(model.genome)
    ports = [port for unit in units for port in unit.inputs]
    for pool in units:
        source = pool.inputs[0].unit
        readers = sum(port.unit == source for port in ports)
        if source == IMAGE or readers > 1 or not _only_pools(pool):
            continue
        if source not in model.body or pool.name not in model.body:
            continue  # only training needs them, and this is the deployed detector
        stem, after = model.body[source], model.body[pool.name]
        if isinstance(stem, FusedBlock) and isinstance(after, FusedBlock):
            layers = stem.copies[-1]
            if isinstance(layers, nn.Sequential) and isinstance(layers[-1], nn.ReLU | nn.ReLU6):
                after.copies.append(layers.pop(-1))


def _only_pools(unit: Unit) -> bool:
    """Whether a unit does nothing with its one input before it pools it."""
    block = unit.block
    return (
        unit.kind == "block"
        and unit.part.commutes_with_rectifier
        and len(unit.inputs) == 1
        and block is not None
        and block.fuse_activation == "none"
        and block.combine == "sum"
    )
