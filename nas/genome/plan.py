"""The one lowering: a genome becomes units, each with resolved widths, sizes and inputs.

The builder makes one module per unit, cost counts each distinct unit once, pictures and keys read
the same units.  ``lower`` keeps the published listing; ``plan`` is the canonical listing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from nas.errors import GenomeError
from nas.genome.genome import Genome
from nas.genome.parts import (
    IMAGE,
    AlphaResample,
    Block,
    Bottleneck,
    Conv,
    Direct,
    Endpoints,
    FusedInvertedResidual,
    InvertedResidual,
    MaxPool,
    MimicDetHead,
    NoNeck,
    Part,
    Pool,
    Residual,
    RetinaNetHead,
    Scale,
    SSDHead,
    Tap,
    Tucker,
)

MIN_ALPHA_SIZE = 128
"""Below 128 px level 7 would be smaller than one pixel, so scales can't be told apart."""


class Shape(NamedTuple):
    """A map: channels, side in pixels, nominal log2 stride."""

    channels: int
    size: int
    level: int


class Port(NamedTuple):
    """One output of a unit; output 1 of an inverted residual is its expanded map."""

    unit: str
    output: int = 0


class Unit(NamedTuple):
    """One part of the deployed network, resolved.

    Attributes:
        name: a Python identifier, unique within the plan.
        kind: block, edge, tap, endpoint, neck or head.
        part: what it is made from.
        block: the block it is, or feeds; None from the taps on.
        inputs: where its inputs come from; ``image`` is the picture.
        ins, outs: shapes of inputs and outputs.
        width: resolved base width of a block's operation.
        middle: channels inside a SpineNet resampling.
        training_only: absent from what is shipped.
    """

    name: str
    kind: Literal["block", "edge", "tap", "endpoint", "neck", "head"]
    part: Part
    block: Block | None
    inputs: tuple[Port, ...]
    ins: tuple[Shape, ...]
    outs: tuple[Shape, ...]
    width: int = 0
    middle: int = 0
    training_only: bool = False


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


def resolve(genome: Genome) -> tuple[dict[str, Block], tuple[Tap, ...]]:
    """Applies the truncation and drops every block that no tap can be reached from.

    Returns:
        Blocks by id in the listing's order, and the taps, all reading blocks that exist.
    """
    blocks, taps = _listed(genome), genome.taps
    if genome.truncation is not None:
        blocks, taps = _truncated(genome, blocks)
    for tap in taps:
        if tap.block not in blocks:
            raise GenomeError(f"tap reads {tap.block!r}, which isn't a block; {_known(blocks)}")
    needed = _reached(blocks, taps)
    return {name: block for name, block in blocks.items() if name in needed}, taps


def _reached(blocks: dict[str, Block], taps: Iterable[Tap]) -> set[str]:
    """Ids of the blocks that the taps read, directly or through others."""
    reached = {tap.block for tap in taps}
    for block in reversed(blocks.values()):
        if block.id in reached:
            reached.update(edge.block for edge in block.inputs)
    return reached


def _listed(genome: Genome) -> dict[str, Block]:
    blocks: dict[str, Block] = {}
    for block in genome.blocks:
        if block.id in blocks or block.id == IMAGE:
            raise GenomeError(f"block {block.id!r}: the id is taken; give each block its own")
        for edge in block.inputs:
            if edge.block != IMAGE and edge.block not in blocks:
                raise GenomeError(
                    f"block {block.id!r} reads {edge.block!r}, which isn't listed before it; "
                    f"{_known(blocks)}"
                )
        blocks[block.id] = block
    return blocks


def _known(blocks: dict[str, Block]) -> str:
    names = list(blocks)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"legal: {shown}" if names else f"legal: {IMAGE}"


def _truncated(
    genome: Genome, blocks: dict[str, Block]
) -> tuple[dict[str, Block], tuple[Tap, ...]]:
    cut = genome.truncation
    assert cut is not None
    names = list(blocks)
    for end in (cut.after, cut.through):
        if end not in blocks:
            raise GenomeError(f"truncation names {end!r}, which isn't a block; {_known(blocks)}")
    first, last = names.index(cut.after), names.index(cut.through)
    if last <= first:
        raise GenomeError(f"truncation: {cut.through!r} isn't listed after {cut.after!r}")
    removed = set(names[first + 1 : last + 1])

    def moved(name: str, point: str, what: str) -> str:
        if name in removed and point != "out":
            raise GenomeError(f"{what} reads a point inside {name!r}, which truncation removes")
        return cut.after if name in removed else name

    kept: dict[str, Block] = {}
    for name, block in blocks.items():
        if name not in removed:
            edges = tuple(
                edge.but(block=moved(edge.block, edge.point, f"block {name!r}"))
                for edge in block.inputs
            )
            kept[name] = block.but(inputs=edges)
    taps = tuple(tap.but(block=moved(tap.block, tap.point, "tap")) for tap in genome.taps)
    return kept, taps


def width_of(base: int, scale: Scale) -> int:
    """A base width under a scale: truncated, or rounded to a multiple as MobileNets do."""
    exact = base * scale.width
    if scale.divisor == 1:
        return max(1, int(exact))
    return divisible(exact, scale.divisor)


def divisible(value: float, divisor: int) -> int:
    """The nearest multiple, at least ``divisor``, never more than a tenth below ``value``."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def input_level(block: Block) -> int:
    """Nominal level of what the operation reads."""
    return block.level - int(math.log2(block.op.stride))


class Lowering:
    """Turns one genome into units; shapes are inferred on the way."""

    def __init__(self, genome: Genome) -> None:
        self.genome = genome
        self.blocks, self.taps = resolve(genome)
        self.shipped = _reached(self.blocks, (t for t in self.taps if not t.training_only))
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
        fused = self._fused(block, shapes)
        outs = self._outputs(block, fused, width)
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

    def _fused(self, block: Block, shapes: list[Shape]) -> Shape:
        first = shapes[0]
        for edge, shape in zip(block.inputs, shapes, strict=True):
            if shape.size != first.size:
                raise GenomeError(
                    f"block {block.id!r} combines maps of {first.size} and {shape.size} px "
                    f"({edge.block!r}); legal: a resampled edge, or a parent at its input level "
                    f"{input_level(block)}"
                )
            if block.combine != "concat" and shape.channels != first.channels:
                raise GenomeError(
                    f"block {block.id!r} sums {first.channels} and {shape.channels} channels "
                    f"({edge.block!r}); legal: equal channels, a resampled edge, or 'concat'"
                )
        channels = sum(s.channels for s in shapes) if block.combine == "concat" else first.channels
        level = input_level(block)
        for edge, shape in zip(block.inputs, shapes, strict=True):
            if shape.level != level:
                raise GenomeError(
                    f"block {block.id!r} has level {block.level} and stride {block.op.stride} but "
                    f"reads {edge.block!r} at level {shape.level}; legal: level {level}, or a "
                    "resampled edge"
                )
        return Shape(channels, first.size, level)

    def _outputs(self, block: Block, fused: Shape, width: int) -> tuple[Shape, ...]:
        op = block.op
        size = _output_size(block, fused.size)
        if size < 1:
            raise GenomeError(
                f"block {block.id!r}: a map of {fused.size} px leaves nothing after its kernel; "
                "legal: a larger input, more padding, or a smaller kernel"
            )
        channels = fused.channels if isinstance(op, MaxPool) else width
        if isinstance(op, Bottleneck):
            channels = 4 * width
        self._check_shortcut(block, fused, Shape(channels, size, block.level))
        outs = [Shape(channels, size, block.level)]
        if isinstance(op, InvertedResidual):
            outs.append(Shape(expanded(fused.channels, op.expansion), fused.size, fused.level))
        return tuple(outs)

    def _check_shortcut(self, block: Block, fused: Shape, out: Shape) -> None:
        op = block.op
        keeps = (
            isinstance(op, InvertedResidual | FusedInvertedResidual | Tucker) and op.shortcut
        ) or (isinstance(op, Conv) and op.shortcut == "identity")
        if keeps and (fused.channels, fused.size) != (out.channels, out.size):
            raise GenomeError(
                f"block {block.id!r} adds its input of {fused.channels}×{fused.size}px to its "
                f"output of {out.channels}×{out.size}px; legal: equal shapes, or no shortcut"
            )
        if isinstance(op, Conv) and op.shortcut == "average_pool":
            extent = fused.size - 2
            pooled = (-(-extent // op.stride) if op.ceil else extent // op.stride) + 1
            if pooled != out.size:
                raise GenomeError(
                    f"block {block.id!r} adds an average pool of {pooled} px to its output of "
                    f"{out.size} px; legal: stride 2, with the other value of 'ceil'"
                )
        same = isinstance(op, Conv) and 2 * padding_of(op) == op.dilation * (op.kernel - 1)
        if isinstance(op, Conv) and block.repeats > 1 and not same:
            raise GenomeError(
                f"block {block.id!r}: every copy of this conv would change the size; "
                f"legal: repeats 1, or an odd kernel with padding None"
            )
        if not isinstance(op, MaxPool):
            return
        if op.padding != "same" and op.padding > op.kernel // 2:
            raise GenomeError(
                f"block {block.id!r} pads a max_pool of kernel {op.kernel} by {op.padding}; "
                f"legal: at most {op.kernel // 2}, or 'same'"
            )
        if block.repeats > 1 and fused.size != out.size:
            raise GenomeError(
                f"block {block.id!r}: a max_pool that changes the size can't be repeated; "
                "legal: repeats 1"
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


def expanded(channels: int, expansion: float) -> int:
    """Channels inside an inverted residual: the nearest integer, one at the least."""
    return max(1, round(channels * expansion))


def padding_of(op: Conv) -> int:
    """Pixels of padding on each side of a convolution."""
    return op.dilation * (op.kernel - 1) // 2 if op.padding is None else op.padding


def _output_size(block: Block, size: int) -> int:
    op = block.op
    if isinstance(op, MaxPool):
        if op.padding == "same":
            return -(-size // op.stride)
        extent = size + 2 * op.padding - op.kernel
        out = (-(-extent // op.stride) if op.ceil else extent // op.stride) + 1
        # A last window has to start within the map, as torch has it.
        return out - 1 if (out - 1) * op.stride >= size + op.padding else out
    kernel = 3 if isinstance(op, Bottleneck | Residual) else op.kernel
    dilation = op.dilation if isinstance(op, Conv | InvertedResidual) else 1
    padding = padding_of(op) if isinstance(op, Conv) else dilation * (kernel - 1) // 2
    for copy in range(block.repeats):
        stride = op.stride if copy == 0 else 1
        size = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return size
