"""The one lowering: a genome becomes units, each with resolved widths, sizes and inputs.

The builder makes one module per unit, cost counts each distinct unit once, and pictures read the
same units; keys are made from the shapes beneath them. `lower` keeps the published listing;
`plan` is the canonical listing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nas.genome.blocks import IMAGE, Tap
from nas.genome.key import canonical_order
from nas.genome.listing import reached
from nas.genome.units import Port, Unit

if TYPE_CHECKING:
    from nas.genome.genome import Genome


def plan(genome: Genome) -> tuple[Unit, ...]:
    """Returns the units of a genome in canonical order, each after its inputs; the head is last.

    Genomes of equal key have equal plans, names included (up to the ids in `Unit.block`).

    Raises:
        GenomeError: when the genome isn't legal.
    """
    return lower(genome, canonical_order(genome))


def lower(genome: Genome, order: Sequence[str] | None = None) -> tuple[Unit, ...]:
    """Returns the units of a genome, blocks in `order` (ids); None keeps the listing's order."""
    return tuple(Lowering(genome).units(order))


class Lowering:
    """Turns one genome into units: what was laid out gets names and ports."""

    def __init__(self, genome: Genome) -> None:
        self.genome = genome
        self.layout = genome.layout
        blocks, taps = self.layout.blocks, self.layout.taps
        self.shipped = reached(blocks, (tap for tap in taps if not tap.training_only))
        self.names: dict[str, str] = {IMAGE: IMAGE}

    def units(self, order: Sequence[str] | None) -> Iterator[Unit]:
        """Yields blocks with their edges, then taps, neck and head."""
        for position, name in enumerate(order or self.layout.blocks):
            self.names[name] = f"b{position:02d}"
            yield from self._block(name, canonical=order is not None)
        yield from self._ends()

    def _block(self, name: str, canonical: bool) -> Iterator[Unit]:
        block, resolved = self.layout.blocks[name], self.layout.resolved[name]
        unread = name not in self.shipped
        inputs = list(
            zip(block.inputs, resolved.sources, resolved.ins, resolved.middles, strict=True)
        )
        if canonical and block.combine != "concat":
            # A sum doesn't know the order of its terms: list them by canonical parent.
            inputs.sort(key=lambda i: (self.names[i[0].block], i[0].point, i[0].resample.signature))
        name = self.names[name]
        ports = []
        for index, (edge, source, after, middle) in enumerate(inputs):
            port = Port(self.names[edge.block], edge.output)
            if edge.resample.changes:
                yield Unit(
                    f"{name}_e{index}",
                    "edge",
                    edge.resample,
                    block,
                    (port,),
                    (source.shape,),
                    (after,),
                    resolved.width,
                    middle,
                    unread,
                )
                port = Port(f"{name}_e{index}")
            ports.append(port)
        ins = tuple([after for _, _, after, _ in inputs])
        outs = tuple([out.shape for out in resolved.outs])
        yield Unit(
            name,
            "block",
            block.op,
            block,
            tuple(ports),
            ins,
            outs,
            resolved.width,
            training_only=unread,
        )

    def _ends(self) -> Iterator[Unit]:
        """Yields the units from the taps on."""
        ports = []
        for index, tap in enumerate(self.layout.taps):
            port = Port(self.names[tap.block], tap.output)
            if tap.transform is not None:
                yield self._tap(index, tap, port)
                port = Port(f"tap{index}")
            ports.append(port)
        yield from self._neck(ports)
        maps, unshipped = self.layout.offered, self.layout.training_only
        yield Unit(
            "head", "head", self.genome.head, None, tuple(ports), maps, maps, unshipped=unshipped
        )

    def _tap(self, index: int, tap: Tap, port: Port) -> Unit:
        return Unit(
            f"tap{index}",
            "tap",
            tap.transform,
            None,
            (port,),
            (self.layout.tapped[index],),
            (self.layout.collected[index],),
            training_only=tap.training_only,
        )

    def _neck(self, ports: list[Port]) -> Iterator[Unit]:
        """Yields the neck's units and replaces `ports` by what the head reads."""
        neck, ins, outs = self.genome.neck, self.layout.collected, self.layout.offered
        if neck.makes == "unit per map":
            for index, tap in enumerate(self.layout.taps):
                name = f"endpoint{index}"
                yield Unit(
                    name,
                    "endpoint",
                    neck,
                    None,
                    (ports[index],),
                    (ins[index],),
                    (outs[index],),
                    training_only=tap.training_only,
                )
                ports[index] = Port(name)
        elif neck.makes == "one unit":
            yield Unit("neck", "neck", neck, None, tuple(ports), ins, outs)
            ports[:] = [Port("neck", i) for i in range(len(outs))]


def ends(genome: Genome) -> tuple[Unit, ...]:
    """Returns the units from the taps on, for readers that take the blocks from the layout.

    Their inputs have no names.
    """
    lowering = Lowering(genome)
    lowering.names.update(dict.fromkeys(lowering.layout.blocks, ""))
    return tuple(lowering._ends())
