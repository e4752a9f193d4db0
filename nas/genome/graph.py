"""A genome as a networkx graph: the view that users and pictures read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.genome.blocks import IMAGE
from nas.genome.plan import lower
from nas.genome.units import Unit, deployed

if TYPE_CHECKING:
    import networkx

    from nas.genome.genome import Genome


def graph(genome: Genome) -> networkx.DiGraph:
    """Makes the graph of a genome; see `Genome.graph`."""
    import networkx  # here alone, and slow to load

    units = deployed(lower(genome))
    view = networkx.DiGraph(name=genome.name)
    side = genome.input.size
    view.add_node(IMAGE, level=0, type=IMAGE, width=3, size=side, tap=False)
    by_name = {unit.name: unit for unit in units}
    tapped = {tap.block for tap in genome.layout.taps if not tap.training_only}
    for unit in units:
        if unit.kind != "block" or unit.block is None:
            continue
        block, out = unit.block, unit.outs[0]
        view.add_node(
            block.id,
            level=block.level,
            type=block.op.type,
            width=out.channels,
            size=out.size,
            tap=block.id in tapped,
        )
        for port in unit.inputs:
            _read(view, by_name, block.id, port.unit)
    return view


def _read(view: networkx.DiGraph, units: dict[str, Unit], child: str, source: str) -> None:
    edge = units.get(source)
    resampling = "direct"
    if edge is not None and edge.kind == "edge":
        resampling = _resampling(edge)
        source = edge.inputs[0].unit
    parent_unit = units.get(source)
    parent = parent_unit.block.id if parent_unit and parent_unit.block else IMAGE
    count = view.edges[parent, child]["count"] + 1 if view.has_edge(parent, child) else 1
    view.add_edge(parent, child, resampling=resampling, count=count)


def _resampling(edge: Unit) -> str:
    steps = edge.outs[0].level - edge.ins[0].level
    if steps == 0:
        return "same"
    return f"down {2**steps}" if steps > 0 else f"up {2**-steps}"
