"""The one lowering: a genome becomes units, each with resolved widths, sizes and inputs.

The builder makes one module per unit, cost counts each distinct unit once, pictures and keys read
the same units.  ``lower`` keeps the published listing; ``plan`` is the canonical listing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, AlphaResample, Block, Direct
from nas.genome.genome import Genome
from nas.genome.heads import MimicDetHead, RetinaNetHead, SSDHead
from nas.genome.listing import reached, resolve
from nas.genome.necks import Endpoints, NoNeck, Pool, Tap
from nas.genome.operations import Bottleneck, Conv, InvertedResidual, MaxPool
from nas.genome.part import Part
from nas.genome.shapes import fused_shape, input_level, output_shapes, width_of
from nas.genome.units import Port, Shape, Unit

MIN_ALPHA_SIZE = 128
"""Below 128 px level 7 would be smaller than one pixel, so scales can't be told apart."""


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


class Lowering:
    """Turns one genome into units; shapes are inferred on the way."""

    def __init__(self, genome: Genome) -> None:
        self.genome = genome
        self.blocks, self.taps = resolve(genome)
        self.shipped = reached(self.blocks, (t for t in self.taps if not t.training_only))
        side = genome.input.size
        self.shapes: dict[Port, Shape] = {Port(IMAGE): Shape(3, side, 0)}
        self.names: dict[str, str] = {IMAGE: IMAGE}

    def units(self, order: Sequence[str] | None) -> Iterator[Unit]:
        """Yields blocks with their edges, then taps, neck and head."""
        for position, name in enumerate(order or self.blocks):
            self.names[name] = f"b{position:02d}"
            yield from self._block(self.blocks[name], canonical=order is not None)
        maps: list[tuple[Port, Shape, bool]] = []
        for index, tap in enumerate(self.taps):
            port = self._port(tap.block, tap.point, "tap")
            shape = self.shapes[port]
            if tap.transform is not None:
                unit = self._tap(index, tap, port, shape)
                yield unit
                port, shape = Port(unit.name), unit.outs[0]
            maps.append((port, shape, tap.training_only))
        for unit in self._neck(maps):
            yield unit
        yield self._head(maps)

    def _port(self, name: str, point: str, reader: str) -> Port:
        if point == "expand":
            block = self.blocks.get(name)
            if block is None or not isinstance(block.op, InvertedResidual):
                kind = IMAGE if block is None else block.op.type
                raise GenomeError(
                    f"{reader} reads point 'expand' of {name!r} ({kind}); "
                    "only an inverted_residual has one, others have 'out'"
                )
            return Port(self.names[name], 1)
        return Port(self.names[name])

    def _block(self, block: Block, canonical: bool) -> Iterator[Unit]:
        op, name = block.op, self.names[block.id]
        width = 0
        if not isinstance(op, MaxPool):
            scalable = not isinstance(op, Conv) or op.scalable
            width = width_of(op.width, self.genome.scale) if scalable else op.width
        edges = block.inputs
        if canonical and block.combine != "concat":
            # A sum doesn't know the order of its terms: list them by canonical parent.
            edges = tuple(
                sorted(edges, key=lambda e: (self.names[e.block], e.point, e.resample.signature))
            )
        ports, shapes = [], []
        for index, edge in enumerate(edges):
            port = self._port(edge.block, edge.point, f"block {block.id!r}")
            shape = self.shapes[port]
            if not isinstance(edge.resample, Direct):
                unit = self._edge(f"{name}_e{index}", block, edge.block, edge.resample, port, width)
                yield unit
                port, shape = Port(unit.name), unit.outs[0]
            ports.append(port)
            shapes.append(shape)
        fused = fused_shape(block, shapes)
        outs = output_shapes(block, fused, width)
        for index, shape in enumerate(outs):
            self.shapes[Port(name, index)] = shape
        unread = block.id not in self.shipped
        yield Unit(
            name, "block", op, block, tuple(ports), tuple(shapes), outs, width, training_only=unread
        )

    def _edge(
        self, name: str, block: Block, parent: str, resample: Part, port: Port, width: int
    ) -> Unit:
        source = self.shapes[port]
        if parent == IMAGE:
            raise GenomeError(f"block {block.id!r} resamples the image; legal: a direct edge")
        if isinstance(block.op, MaxPool):
            raise GenomeError(f"block {block.id!r} (max_pool) can only read direct edges")
        level = input_level(block)
        side = self.genome.input.size
        if side < MIN_ALPHA_SIZE:
            raise GenomeError(
                f"input size {side}: a scale-permuted network needs at least {MIN_ALPHA_SIZE} px, "
                "so that level 7 keeps one pixel"
            )
        size = -(-side // 2**level)
        target = 4 * width if isinstance(block.op, Bottleneck) else width
        middle = 0
        if isinstance(resample, AlphaResample):
            grandparent = self.blocks[parent].op
            narrow = 4 if isinstance(grandparent, Bottleneck) else 1
            middle = max(1, int(source.channels / narrow * resample.alpha))
        out = Shape(target, size, level)
        unread = block.id not in self.shipped
        return Unit(
            name, "edge", resample, block, (port,), (source,), (out,), width, middle, unread
        )

    def _tap(self, index: int, tap: Tap, port: Port, shape: Shape) -> Unit:
        out = shape
        if isinstance(tap.transform, Pool):
            stride = tap.transform.stride
            if shape.size < stride:
                raise GenomeError(
                    f"tap {index} pools {shape.size} px of {tap.block!r} by {stride}; "
                    "legal: a larger input or a smaller stride"
                )
            out = Shape(shape.channels, shape.size // stride, shape.level + int(math.log2(stride)))
        assert tap.transform is not None
        return Unit(
            f"tap{index}",
            "tap",
            tap.transform,
            None,
            (port,),
            (shape,),
            (out,),
            training_only=tap.training_only,
        )

    def _neck(self, maps: list[tuple[Port, Shape, bool]]) -> Iterator[Unit]:
        """Yields the neck's units and replaces ``maps`` by what the head reads."""
        neck = self.genome.neck
        if isinstance(neck, NoNeck):
            return
        if isinstance(neck, Endpoints):
            for index, (port, shape, training_only) in enumerate(maps):
                out = Shape(neck.width, shape.size, shape.level)
                name = f"endpoint{index}"
                yield Unit(
                    name,
                    "endpoint",
                    neck,
                    None,
                    (port,),
                    (shape,),
                    (out,),
                    training_only=training_only,
                )
                maps[index] = (Port(name), out, training_only)
            return
        for index in (neck.target, *neck.outputs):
            if index >= len(maps):
                raise GenomeError(
                    f"neck rfcr names tap {index}, but there are {len(maps)}; "
                    f"legal: 0 to {len(maps) - 1}"
                )
        if any(training_only for _, _, training_only in maps):
            raise GenomeError("neck rfcr ships every tap; legal: no training_only tap")
        ports = tuple(port for port, _, _ in maps)
        ins = tuple(shape for _, shape, _ in maps)
        outs = tuple(
            Shape(ins[i].channels + neck.fuse, ins[i].size, ins[i].level) for i in neck.outputs
        )
        yield Unit("neck", "neck", neck, None, ports, ins, outs)
        maps[:] = [(Port("neck", i), shape, False) for i, shape in enumerate(outs)]

    def _head(self, maps: list[tuple[Port, Shape, bool]]) -> Unit:
        head = self.genome.head
        count = len(maps)
        anchored = count
        if isinstance(head, MimicDetHead):
            positions = set(head.student_levels) | set(head.teacher.levels if head.teacher else ())
            if max(positions) >= count:
                raise GenomeError(
                    f"head mimicdet reads map {max(positions)}; legal: 0 to {count - 1}"
                )
            shipped_away = [i for i in head.student_levels if maps[i][2]]
            if shipped_away:
                raise GenomeError(f"head mimicdet: the student reads training-only {shipped_away}")
            anchored = len(head.student_levels)
        elif any(training_only for _, _, training_only in maps):
            raise GenomeError(f"head {head.type} has no part for training alone; legal: mimicdet")
        if len(head.anchors) != anchored:
            raise GenomeError(
                f"head {head.type} has anchors for {len(head.anchors)} maps and reads {anchored}; "
                "give one entry per map"
            )
        channels = {shape.channels for _, shape, _ in maps}
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
        ports = tuple(port for port, _, _ in maps)
        ins = tuple(shape for _, shape, _ in maps)
        return Unit("head", "head", head, None, ports, ins, ins)
