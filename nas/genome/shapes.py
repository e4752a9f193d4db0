"""Widths, sizes and levels of a block's maps, and the refusal of those that don't fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, AlphaResample, Block, Direct, Edge
from nas.genome.network import Scale
from nas.genome.operations import (
    Bottleneck,
    Conv,
    FusedInvertedResidual,
    InvertedResidual,
    MaxPool,
    Residual,
    SqueezeExcite,
    Tucker,
)
from nas.genome.units import Shape

MIN_ALPHA_SIZE = 128
"""Below 128 px level 7 would be smaller than one pixel, so scales can't be told apart."""
REMEMBERED = 4096
"""Fits that are kept: a search meets the same ones in thousands of genomes, about 3,000 different
ones in SpineNet's space."""


class Map(NamedTuple):
    """A map that can be read: its shape, and the base width that a resampling's α multiplies."""

    shape: Shape
    base: float


@dataclass(frozen=True, eq=False, slots=True)
class Fitted:
    """A block among its neighbours: all that follows from the maps that it reads.

    Attributes:
        block: the block, or one that differs in names and rank alone.
        sources: per input, the map that is read.
        ins: per input, that map as the operation reads it: resampled, or as it is.
        middles: per input, channels inside a SpineNet resampling; 0 inside any other.
        width: resolved base width of the operation; a max-pool has none.
        outs: the output and, of an inverted residual, its expanded map.
    """

    block: Block
    sources: tuple[Map, ...]
    ins: tuple[Shape, ...]
    middles: tuple[int, ...]
    width: int
    outs: tuple[Map, ...]


_fitted: dict[tuple[object, ...], Fitted] = {}


def fitted(block: Block, sources: tuple[Map, ...], scale: Scale, side: int) -> Fitted:
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
    key = (block.nameless, sources, scale.width, scale.divisor, side)
    known = _fitted.get(key)
    if known is None:
        if len(_fitted) >= REMEMBERED:
            _fitted.clear()
        known = _fitted[key] = _fit(block, sources, scale, side)
    return known


def _fit(block: Block, sources: tuple[Map, ...], scale: Scale, side: int) -> Fitted:
    op = block.op
    width = 0
    if not isinstance(op, MaxPool):
        scalable = not isinstance(op, Conv) or op.scalable
        width = width_of(op.width, scale) if scalable else op.width
    ins, middles = [], []
    for edge, source in zip(block.inputs, sources, strict=True):
        how, shape = edge.resample, source.shape
        ins.append(shape if isinstance(how, Direct) else resampled_shape(block, edge, width, side))
        alpha = how.alpha if isinstance(how, AlphaResample) else None
        middles.append(0 if alpha is None else max(1, int(source.base * alpha)))
    shapes = output_shapes(block, fused_shape(block, ins), width)
    narrow = 4 if isinstance(op, Bottleneck) else 1
    outs = tuple(Map(shape, shape.channels / narrow) for shape in shapes)
    return Fitted(block, sources, tuple(ins), tuple(middles), width, outs)


def resampled_shape(block: Block, edge: Edge, width: int, side: int) -> Shape:
    """What a resampled edge gives a block: its input level's size, its own width.

    Raises:
        GenomeError: when the image is resampled, a max-pool reads it, or the picture is too small.
    """
    if edge.block == IMAGE:
        raise GenomeError(f"block {block.id!r} resamples the image; legal: a direct edge")
    if isinstance(block.op, MaxPool):
        raise GenomeError(f"block {block.id!r} (max_pool) can only read direct edges")
    if side < MIN_ALPHA_SIZE:
        raise GenomeError(
            f"input size {side}: a scale-permuted network needs at least {MIN_ALPHA_SIZE} px, "
            "so that level 7 keeps one pixel"
        )
    level = input_level(block)
    channels = 4 * width if isinstance(block.op, Bottleneck) else width
    return Shape(channels, -(-side // 2**level), level)


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


def fused_shape(block: Block, shapes: list[Shape]) -> Shape:
    """What a block's operation reads: the shapes of its inputs, combined.

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


def output_shapes(block: Block, fused: Shape, width: int) -> tuple[Shape, ...]:
    """A block's output and, of an inverted residual, its expanded map.

    Args:
        block: whose operation reads ``fused``.
        fused: the combined input.
        width: resolved base width of the operation; a max-pool has none.

    Raises:
        GenomeError: when nothing is left of the map, or a shortcut, padding or repetition can't be.
    """
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
    _check_shortcut(block, fused, Shape(channels, size, block.level))
    outs = [Shape(channels, size, block.level)]
    if isinstance(op, InvertedResidual):
        outs.append(Shape(expanded(fused.channels, op.expansion), fused.size, fused.level))
    return tuple(outs)


def _check_shortcut(block: Block, fused: Shape, out: Shape) -> None:
    op = block.op
    keeps = (isinstance(op, InvertedResidual | FusedInvertedResidual | Tucker) and op.shortcut) or (
        isinstance(op, Conv) and op.shortcut == "identity"
    )
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
    if not isinstance(op, MaxPool):
        _check_copies(block)
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


def _check_copies(block: Block) -> None:
    """Refuses copies that would change the size, one after the other."""
    kernel, dilation, padding = _window(block)
    if block.repeats > 1 and 2 * padding != dilation * (kernel - 1):
        raise GenomeError(
            f"block {block.id!r}: every copy of this {block.op.type} would change the size; "
            "legal: repeats 1, or an odd kernel with the padding left out"
        )


def _window(block: Block) -> tuple[int, int, int]:
    """Kernel, dilation and padding of the convolution inside a block that has the stride."""
    op = block.op
    assert not isinstance(op, MaxPool)
    kernel = 3 if isinstance(op, Bottleneck | Residual) else op.kernel
    dilation = op.dilation if isinstance(op, Conv | InvertedResidual) else 1
    return (
        kernel,
        dilation,
        padding_of(op) if isinstance(op, Conv) else dilation * (kernel - 1) // 2,
    )


def expanded(channels: int, expansion: float) -> int:
    """Channels inside an inverted residual: the nearest integer, one at the least."""
    return max(1, round(channels * expansion))


def squeezed(op: SqueezeExcite, channels: int, wide: int) -> int:
    """Channels inside a squeeze-excite.

    ``divisor`` 1 truncates (SpineNet-Mobile: ``max(1, int(0.2 * channels))``); 8 is torchvision's
    rule for MobileNetV3 and, wherever a quarter is whole, MobileDets'.

    Args:
        op: the part.
        channels: that its block reads.
        wide: that it scales, the block's expanded ones.
    """
    exact = int((channels if op.of == "input" else wide) * op.ratio)
    return max(1, exact) if op.divisor == 1 else divisible(exact, op.divisor)


def compressed(channels: int, ratio: float) -> int:
    """Channels inside a Tucker block: the nearest multiple of 8, at least 8 (half rounds up).

    Source: tensorflow/models, object_detection/models/ssd_mobiledet_feature_extractor.py.
    """
    return max(8, 8 * int(channels * ratio / 8 + 0.5))


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
    kernel, dilation, padding = _window(block)
    for copy in range(block.repeats):
        stride = op.stride if copy == 0 else 1
        size = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return size
