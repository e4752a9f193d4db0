"""Widths, sizes and levels of a block's maps, and the refusal of those that don't fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, Block, Edge
from nas.genome.maps import Map, Shape
from nas.genome.memo import Memo
from nas.genome.network import Scale
from nas.genome.tape import Tape, Value


@dataclass(frozen=True, eq=False, slots=True)
class ResolvedBlock:
    """A block among its neighbours: all that follows from the maps that it reads.

    Attributes:
        block: the block, or one that differs in names and rank alone: its id isn't to be told.
        sources: per input, the map that is read.
        ins: per input, that map as the operation reads it: resampled, or as it is.
        middles: per input, channels inside its resampling; 0 where there is nothing inside.
        width: resolved base width of the operation; a max-pool has none.
        outs: the output and, of an inverted residual, its expanded map.
    """

    block: Block
    sources: tuple[Map, ...]
    ins: tuple[Shape, ...]
    middles: tuple[int, ...]
    width: int
    outs: tuple[Map, ...]

    def record(self, tape: Tape, reads: Sequence[Value]) -> tuple[Value, ...]:
        """Records its edges and itself; see `Block.record`."""
        values = [
            edge.resample.record(tape, x, source.shape, target, middle)
            for edge, x, source, target, middle in zip(
                self.block.inputs, reads, self.sources, self.ins, self.middles, strict=True
            )
        ]
        return self.block.record(tape, values, self.width)


_resolved: Memo[tuple[object, ...], ResolvedBlock] = Memo()


def resolve_block(block: Block, sources: tuple[Map, ...], scale: Scale, side: int) -> ResolvedBlock:
    """Infers a block's shapes.

    While it is remembered it is the same object for equal arguments, whatever blocks are called.

    Args:
        block: the block.
        sources: per input, the map that is read.
        scale: of the whole network.
        side: of the picture in pixels.

    Raises:
        GenomeError: names the block, what doesn't fit, and what would be legal.
    """
    # Ids and ranks aren't in the key, so what is remembered may be of a block with others.
    key = (block.structure, sources, scale.width, scale.divisor, side)
    return _resolved.get(key) or _resolved.keep(key, _resolve(block, sources, scale, side))


def _resolve(block: Block, sources: tuple[Map, ...], scale: Scale, side: int) -> ResolvedBlock:
    """Infers a block's shapes, without a look at what is remembered."""
    op = block.op
    # The operation's width comes first, since resampled edges bring their maps to it.
    width = op.width_at(scale)
    ins, middles = [], []
    for edge, source in zip(block.inputs, sources, strict=True):
        # A direct edge gives the map as it is; any other one makes its shape, which always fits.
        how, shape = edge.resample, source.shape
        ins.append(resampled_shape(block, edge, width, side) if how.changes else shape)
        middles.append(how.middle(source))
    # So only direct edges can disagree, which is checked where inputs become one.
    x = fused_shape(block, ins)
    out = output_shape(block, x, width)
    # A parent's base width is what α multiplies: of a bottleneck a quarter of its channels.
    outs = (Map(out, op.base(out.channels)), *[Map(s, float(s.channels)) for s in op.inner(x)])
    return ResolvedBlock(block, sources, tuple(ins), tuple(middles), width, outs)


def resampled_shape(block: Block, edge: Edge, width: int, side: int) -> Shape:
    """Returns what a resampled edge gives a block: its input level's size, its own width.

    Raises:
        GenomeError: when the image is resampled, the block can't read a resampled map, or the
            picture is too small.
    """
    if edge.block == IMAGE:
        raise GenomeError(f"block {block.id!r} resamples the image; legal: a direct edge")
    if not block.op.takes_resampled:
        raise GenomeError(f"block {block.id!r} ({block.op.type}) can only read direct edges")
    edge.resample.check_picture(side)
    # TensorFlow's "same" at every step down rounds up, and so does the whole way.
    level = input_level(block)
    return Shape(block.op.channels(0, width), -(-side // 2**level), level)


def input_level(block: Block) -> int:
    """Returns the nominal level of what the operation reads."""
    return block.level - int(math.log2(block.op.window.stride))


def fused_shape(block: Block, shapes: list[Shape]) -> Shape:
    """Returns what a block's operation reads: the shapes of its inputs, combined.

    Raises:
        GenomeError: when they differ in size, under a sum in channels, or aren't at its level.
    """
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
    channels = sum([s.channels for s in shapes]) if block.combine == "concat" else first.channels
    level = input_level(block)
    for edge, shape in zip(block.inputs, shapes, strict=True):
        if shape.level != level:
            raise GenomeError(
                f"block {block.id!r} has level {block.level} and stride {block.op.window.stride} "
                f"but reads {edge.block!r} at level {shape.level}; legal: level {level}, or a "
                "resampled edge"
            )
    return Shape(channels, first.size, level)


def output_shape(block: Block, x: Shape, width: int) -> Shape:
    """Returns the shape of a block's output.

    Args:
        block: whose operation reads `x`.
        x: the combined input.
        width: resolved base width of the operation; a max-pool has none.

    Raises:
        GenomeError: when nothing is left of the map, or a shortcut, padding or repetition can't be.
    """
    op = block.op
    size = op.size(x.size, block.repeats)
    if size < 1:
        raise GenomeError(
            f"block {block.id!r}: a map of {x.size} px leaves nothing after its kernel; "
            "legal: a larger input, more padding, or a smaller kernel"
        )
    out = Shape(op.channels(x.channels, width), size, block.level)
    op.check(block.id, x, out, block.repeats)
    return out
