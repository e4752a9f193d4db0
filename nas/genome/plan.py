"""The one lowering: a genome becomes units, each with resolved widths, sizes and inputs.

The builder makes one module per unit, cost counts each distinct unit once, and pictures read the
same units; keys are made from the shapes beneath them.  ``lower`` keeps the published listing;
``plan`` is the canonical listing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, Block, Direct, Edge
from nas.genome.genome import Genome
from nas.genome.heads import MimicDetHead, RetinaNetHead, SSDHead
from nas.genome.listing import reached, resolve
from nas.genome.necks import RFCR, Endpoints, NoNeck, Pool, Tap
from nas.genome.shapes import Fitted, Map, fitted
from nas.genome.units import Port, Shape, Unit


def plan(genome: Genome) -> tuple[Unit, ...]:
    """The units of a genome in canonical order, each after its inputs; the head is the last.

    Genomes of equal key have equal plans, names included (up to the ids in ``Unit.block``).

    Raises:
        GenomeError: when the genome isn't legal.
    """
    from nas.genome.key import canonical_order

    return lower(genome, canonical_order(genome))


def lower(genome: Genome, order: Sequence[str] | None = None) -> tuple[Unit, ...]:
    """The units of a genome, blocks in ``order`` (ids); None keeps the listing's order."""
    return tuple(Lowering(genome).units(order))


class Layout(NamedTuple):
    """A genome's resolved listing, with the shapes of all maps.

    Attributes:
        blocks: those that a tap reads, directly or through others, by id in the listing's order.
        fitted: each of them among its neighbours.
        taps: as resolved.
        tapped: per tap, the map that it reads.
        collected: per tap, the map that the neck reads.
        offered: the maps that the head reads.
    """

    blocks: dict[str, Block]
    fitted: dict[str, Fitted]
    taps: tuple[Tap, ...]
    tapped: tuple[Shape, ...]
    collected: tuple[Shape, ...]
    offered: tuple[Shape, ...]


def layout(genome: Genome) -> Layout:
    """Infers every shape of a genome, once.

    Raises:
        GenomeError: when the genome isn't legal.
    """
    known: Layout | None = genome.__dict__.get("_layout")
    if known is None:
        known = genome.__dict__["_layout"] = _layout(genome)
    return known


def _layout(genome: Genome) -> Layout:
    blocks, taps = resolve(genome)
    scale, side = genome.scale, genome.input.size
    maps: dict[str, tuple[Map, ...]] = {IMAGE: (Map(Shape(3, side, 0), 3.0),)}
    fits: dict[str, Fitted] = {}
    for name, block in blocks.items():
        try:
            sources = tuple([maps[parent][output] for parent, output in block.reads])
        except IndexError:
            raise _no_such_map(blocks, block.inputs, f"block {name!r}") from None
        fit = fits[name] = fitted(block, sources, scale, side)
        maps[name] = fit.outs
    try:
        tapped = tuple([maps[tap.block][tap.output].shape for tap in taps])
    except IndexError:
        raise _no_such_map(blocks, taps, "tap") from None
    collected = tuple([_transformed(i, tap, tapped[i]) for i, tap in enumerate(taps)])
    offered = _after_neck(genome, taps, collected)
    _check_head(genome, taps, offered)
    return Layout(blocks, fits, taps, tapped, collected, offered)


def _no_such_map(
    blocks: Mapping[str, Block], reads: Sequence[Edge | Tap], reader: str
) -> GenomeError:
    kinds = {name: block.op.type for name, block in blocks.items()} | {IMAGE: IMAGE}
    name = next(r.block for r in reads if r.output and kinds[r.block] != "inverted_residual")
    return GenomeError(
        f"{reader} reads point 'expand' of {name!r} ({kinds[name]}); "
        "only an inverted_residual has one, others have 'out'"
    )


def _transformed(index: int, tap: Tap, shape: Shape) -> Shape:
    if tap.transform is None or not isinstance(tap.transform, Pool):
        return shape
    stride = tap.transform.stride
    if shape.size < stride:
        raise GenomeError(
            f"tap {index} pools {shape.size} px of {tap.block!r} by {stride}; "
            "legal: a larger input or a smaller stride"
        )
    return Shape(shape.channels, shape.size // stride, shape.level + int(math.log2(stride)))


def _after_neck(genome: Genome, taps: Sequence[Tap], maps: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The maps that the neck gives, one per tap but for RFCR."""
    neck = genome.neck
    if isinstance(neck, NoNeck):
        return maps
    if isinstance(neck, Endpoints):
        return tuple([Shape(neck.width, shape.size, shape.level) for shape in maps])
    for index in (neck.target, *neck.outputs):
        if index >= len(maps):
            raise GenomeError(
                f"neck rfcr names tap {index}, but there are {len(maps)}; "
                f"legal: 0 to {len(maps) - 1}"
            )
    _check_rfcr(neck, maps)
    if any(tap.training_only for tap in taps):
        raise GenomeError("neck rfcr ships every tap; legal: no training_only tap")
    return tuple(
        Shape(maps[i].channels + neck.fuse, maps[i].size, maps[i].level) for i in neck.outputs
    )


def _check_rfcr(neck: RFCR, maps: Sequence[Shape]) -> None:
    if neck.kernel % 2 == 0:
        raise GenomeError(f"neck rfcr has kernel {neck.kernel}, which changes the size; legal: odd")
    target = maps[neck.target].size
    for index, shape in enumerate(maps):
        if max(shape.size, target) % min(shape.size, target):
            stride = 2 ** max(shape.level for shape in maps)
            raise GenomeError(
                f"neck rfcr resamples map {index} of {shape.size} px to {target} px; legal: whole "
                f"multiples, which an input of a multiple of {stride} px gives"
            )


def _check_head(genome: Genome, taps: Sequence[Tap], maps: Sequence[Shape]) -> None:
    head = genome.head
    count = len(maps)
    anchored = count
    if isinstance(head, MimicDetHead):
        positions = set(head.student_levels) | set(head.teacher.levels if head.teacher else ())
        if max(positions) >= count:
            raise GenomeError(f"head mimicdet reads map {max(positions)}; legal: 0 to {count - 1}")
        # An RFCR neck, whose maps aren't the taps, has no tap for training alone.
        unshipped = {i for i, tap in enumerate(taps) if tap.training_only}
        shipped_away = [i for i in head.student_levels if i in unshipped]
        if shipped_away:
            raise GenomeError(f"head mimicdet: the student reads training-only {shipped_away}")
        anchored = len(head.student_levels)
    elif any(tap.training_only for tap in taps):
        raise GenomeError(f"head {head.type} has no part for training alone; legal: mimicdet")
    if len(head.anchors) != anchored:
        raise GenomeError(
            f"head {head.type} has anchors for {len(head.anchors)} maps and reads {anchored}; "
            "give one entry per map"
        )
    channels = {shape.channels for shape in maps}
    if len(channels) > 1 and not isinstance(head, SSDHead):
        raise GenomeError(
            f"head {head.type} shares its towers over maps of {sorted(channels)} channels; "
            "legal: a neck with one width, such as endpoints"
        )
    counts = sorted({anchors.count for anchors in head.anchors})
    if isinstance(head, RetinaNetHead) and len(counts) > 1:
        raise GenomeError(
            f"head retinanet shares its towers over levels with {counts} anchors a place; "
            "legal: the same number on every level"
        )


class Lowering:
    """Turns one genome into units: what was laid out gets names and ports."""

    def __init__(self, genome: Genome) -> None:
        self.genome = genome
        self.layout = layout(genome)
        blocks, taps = self.layout.blocks, self.layout.taps
        self.shipped = reached(blocks, (tap for tap in taps if not tap.training_only))
        self.names: dict[str, str] = {IMAGE: IMAGE}

    def units(self, order: Sequence[str] | None) -> Iterator[Unit]:
        """Yields blocks with their edges, then taps, neck and head."""
        blocks = self.layout.blocks
        for position, name in enumerate(order or blocks):
            self.names[name] = f"b{position:02d}"
            yield from self._block(name, canonical=order is not None)
        ports = []
        for index, tap in enumerate(self.layout.taps):
            port = Port(self.names[tap.block], tap.output)
            if tap.transform is not None:
                unit = self._tap(index, tap, port)
                yield unit
                port = Port(unit.name)
            ports.append(port)
        for unit in self._neck(ports):
            yield unit
        maps = self.layout.offered
        unshipped = tuple(i for i, tap in enumerate(self.layout.taps) if tap.training_only)
        yield Unit(
            "head", "head", self.genome.head, None, tuple(ports), maps, maps, unshipped=unshipped
        )

    def _block(self, name: str, canonical: bool) -> Iterator[Unit]:
        block, fit = self.layout.blocks[name], self.layout.fitted[name]
        unread = name not in self.shipped
        inputs = list(zip(block.inputs, fit.sources, fit.ins, fit.middles, strict=True))
        if canonical and block.combine != "concat":
            # A sum doesn't know the order of its terms: list them by canonical parent.
            inputs.sort(key=lambda i: (self.names[i[0].block], i[0].point, i[0].resample.signature))
        name = self.names[name]
        ports = []
        for index, (edge, source, after, middle) in enumerate(inputs):
            port = Port(self.names[edge.block], edge.output)
            if not isinstance(edge.resample, Direct):
                yield Unit(
                    f"{name}_e{index}",
                    "edge",
                    edge.resample,
                    block,
                    (port,),
                    (source.shape,),
                    (after,),
                    fit.width,
                    middle,
                    unread,
                )
                port = Port(f"{name}_e{index}")
            ports.append(port)
        ins = tuple([after for _, _, after, _ in inputs])
        outs = tuple([out.shape for out in fit.outs])
        yield Unit(
            name, "block", block.op, block, tuple(ports), ins, outs, fit.width, training_only=unread
        )

    def _tap(self, index: int, tap: Tap, port: Port) -> Unit:
        assert tap.transform is not None
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
        """Yields the neck's units and replaces ``ports`` by what the head reads."""
        neck, ins, outs = self.genome.neck, self.layout.collected, self.layout.offered
        if isinstance(neck, Endpoints):
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
        elif isinstance(neck, RFCR):
            yield Unit("neck", "neck", neck, None, tuple(ports), ins, outs)
            ports[:] = [Port("neck", i) for i in range(len(outs))]
