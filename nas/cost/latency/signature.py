"""Signatures: what a unit computes and on what sizes, as the entries of a table name it.

A unit's signature has its kind and type; fields that aren't their type's defaults, and resolved
ones, by name; its inputs and outputs as channels@side, of a head only the inputs:

    block bottleneck width=64 64@160 > 256@160
    edge alpha middle=32 up=2 256@160 > 32@320

Tables keep these strings. A change of them is a new version of the table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nas.genome import Genome, Unit
from nas.genome.maps import Shape
from nas.genome.plan import lower
from nas.genome.units import deployed


def signatures(genome: Genome, num_classes: int = 91) -> Counter[str]:
    """What a table must hold for a genome, and how often each entry counts.

    Every unit has one; those for training alone aren't deployed and have none. A block that adds n
    maps has n - 1 more, ``sum 256@40``: so a space has few kinds of units, however many maps its
    blocks may add.

    Args:
        genome: as deployed.
        num_classes: background counts; only a head depends on it.

    Raises:
        GenomeError: when the genome isn't legal.
    """
    counts: Counter[str] = Counter()
    for unit in deployed(lower(genome)):
        counts[signature(unit, num_classes)] += 1
        if _adds(unit) and len(unit.ins) > 1:
            counts[f"sum {_maps(unit.ins[:1])}"] += len(unit.ins) - 1
    return counts


def signature(unit: Unit, num_classes: int = 91) -> str:
    """Equal for units that compute the same on maps of equal sizes, wherever they stand."""
    part, ins = unit.part, unit.ins
    fields: dict[str, Any] = json.loads(part.form)
    kind = fields.pop("type")
    fields = {name: value for name, value in fields.items() if name not in part.untimed}
    if unit.kind == "head":
        fields |= _of_head(unit, num_classes)
    elif unit.kind == "edge":
        fields |= _of_edge(unit)
    elif unit.kind == "block":
        fields |= _of_block(unit)
    if _adds(unit):
        ins = ins[:1]
    values = (f"{name}={_text(value)}" for name, value in sorted(fields.items()))
    outs = () if unit.kind == "head" else (">", _maps(unit.outs))
    return " ".join((unit.kind, kind, *values, _maps(ins), *outs))


def _adds(unit: Unit) -> bool:
    return unit.kind == "block" and unit.block is not None and unit.block.combine == "sum"


def _of_block(unit: Unit) -> dict[str, Any]:
    block = unit.block
    assert block is not None
    fields: dict[str, Any] = {"width": unit.width} if unit.width else {}
    if block.combine == "weighted_sum" or (len(unit.ins) > 1 and not _adds(unit)):
        fields["combine"] = block.combine
    if block.fuse_activation != "none":
        fields["fuse_activation"] = block.fuse_activation
    if block.repeats > 1:
        fields["repeats"] = block.repeats
    return fields


def _of_edge(unit: Unit) -> dict[str, Any]:
    steps = unit.outs[0].level - unit.ins[0].level
    fields: dict[str, Any] = {"middle": unit.middle} if unit.middle else {}
    if steps:
        fields["down" if steps > 0 else "up"] = 2 ** abs(steps)
    return fields


def _of_head(unit: Unit, num_classes: int) -> dict[str, Any]:
    head: Any = unit.part
    counts = [anchors.count for anchors in getattr(head, "anchors", ())]
    fields = {"anchors": counts, "classes": num_classes}
    return fields | ({"width": head.width} if hasattr(head, "width") else {})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _maps(shapes: Sequence[Shape]) -> str:
    return ",".join(f"{shape.channels}@{shape.size}" for shape in shapes)
