"""Parameters and multiply-adds: a fold over operators, of a unit or of a block with its edges.

Conventions of the published tables: parameters are the trainable ones (batch norm's moving
statistics don't count), a multiply-add is one operation, and only convolutions have any.
"""

from __future__ import annotations

from typing import NamedTuple

from nas.genome import Unit
from nas.genome.memo import Memo
from nas.genome.shapes import ResolvedBlock
from nas.genome.tally import Tally

LIMIT = 100_000
"""Units that are remembered."""


class Cost(NamedTuple):
    """Trainable parameters, multiply-adds for one picture, bits stored for the parameters."""

    params: int = 0
    macs: int = 0
    bits: int = 0


def unit_cost(unit: Unit, num_classes: int) -> Cost:
    """Returns the cost of a unit; equal units are counted once and remembered.

    Args:
        unit: from `plan` or `lower`.
        num_classes: background counts; only a head reads it.

    Raises:
        GenomeError: for a part that no module is built for yet.
    """
    classes = num_classes if unit.kind == "head" else 0
    around = unit.block.structure if unit.block is not None and unit.kind == "block" else ()
    key = (unit.kind, unit.part.signature, unit.ins, unit.outs, unit.width, unit.middle, around)
    cached = _units.get((*key, classes))
    if cached is None:
        if len(_units) >= LIMIT:
            _units.clear()
        unit.check_buildable()
        tally = Tally()
        unit.record(tally, [tally.value(shape.channels, shape.size) for shape in unit.ins], classes)
        cached = _units[*key, classes] = cost_of(tally)
    return cached


_units: dict[tuple[object, ...], Cost] = {}


def block_cost(name: str, resolved: ResolvedBlock) -> Cost:
    """Returns the cost of a block and the edges that it reads through; equal ones are counted once.

    Args:
        name: of the block, for the message.
        resolved: the block among its neighbours.

    Raises:
        GenomeError: for a part that no module is built for yet.
    """
    cached = _blocks.get(resolved)
    if cached is None:
        resolved.block.op.check_buildable(f"block {name!r}")
        tally = Tally()
        resolved.record(
            tally, [tally.value(shape.channels, shape.size) for shape, _ in resolved.sources]
        )
        cached = _blocks.keep(resolved, cost_of(tally))
    return cached


_blocks: Memo[ResolvedBlock, Cost] = Memo()


def cost_of(tally: Tally) -> Cost:
    """Returns what a tally has counted."""
    return Cost(tally.params, tally.macs, tally.bits)
