"""MobileDets' search space as data: its numbers, and the layers that a stage can be made of.

Sources: MobileDets, arXiv 2004.14525, section 4; tensorflow/models,
research/object_detection/models/ssd_mobiledet_feature_extractor.py (blocks, published networks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from nas.errors import GenomeError
from nas.genome.blocks import Block
from nas.genome.memo import remembered
from nas.genome.part import Activation, Stride
from nas.genome.parts import FusedInvertedResidual, InvertedResidual, SqueezeExcite, Tucker
from nas.genome.widths import compressed
from search_spaces.mobile.listing import BlockStyle, LayerSpec

Variant = Literal["ibn", "ibn+fused", "ibn+fused+tucker"]
Activations = Literal["relu6", "hard_swish", "mixed"]


@dataclass(frozen=True)
class Published:
    """MobileDets' search space.

    Attributes:
        stem, widths: base channels of the stem and of stages 1 to 7.
        strides: of the stages' first layers, after a stem of stride 2.
        depth: layers of stages 2 to 6 at most; stages 1 and 7 have one.
        multipliers: of base channels; a product is rounded to a multiple of 8.
        kernels, expansions: of inverted residuals, plain and fused.
        ratios: of a Tucker block's hidden channels, to its input's and to its output's.
    """

    stem: int = 32
    widths: tuple[int, ...] = (16, 32, 48, 96, 96, 160, 192)
    strides: tuple[Stride, ...] = (1, 2, 2, 2, 1, 2, 1)
    depth: int = 4
    multipliers: tuple[float, ...] = (0.5, 0.625, 0.75, 1.0, 1.25, 1.5, 2.0)
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[float, ...] = (4.0, 8.0)
    ratios: tuple[float, ...] = (0.25, 0.75)


SPACE = Published()
MULTIPLIERS = (None, *SPACE.multipliers)
"""The choices of a width; None is for a stage that isn't there."""

_SIZED = tuple(product(SPACE.kernels, SPACE.expansions))
IBN = tuple(LayerSpec("inverted_residual", k, e) for k, e in _SIZED)
FUSED = tuple(LayerSpec("fused_inverted_residual", k, e) for k, e in _SIZED)
TUCKER = tuple(LayerSpec("tucker", 3, ratios=r) for r in product(SPACE.ratios, SPACE.ratios))
UNEXPANDED = tuple(LayerSpec("inverted_residual", k, 1.0) for k in SPACE.kernels)
"""Stage 1's only layer, where it isn't a Tucker block, in all published networks."""

LAYERS: dict[Variant, tuple[LayerSpec, ...]] = {
    "ibn": IBN,
    "ibn+fused": IBN + FUSED,
    "ibn+fused+tucker": IBN + FUSED + TUCKER,
}
FIRST_LAYERS: dict[Variant, tuple[LayerSpec, ...]] = {
    "ibn": UNEXPANDED,
    "ibn+fused": UNEXPANDED,
    "ibn+fused+tucker": UNEXPANDED + TUCKER,
}


def channels(base: int, index: int) -> int:
    """Returns base channels times a multiplier, by its index in `MULTIPLIERS`; 0 for None."""
    multiplier = MULTIPLIERS[index]
    return 0 if multiplier is None else compressed(base, multiplier)


@remembered
def distinct(base: int) -> tuple[int, ...]:
    """Returns the different channels that a base has under the multipliers, ascending."""
    return tuple(dict.fromkeys(channels(base, i) for i in range(1, len(MULTIPLIERS))))


@remembered
def width_mask(base: int) -> tuple[bool, ...]:
    """Returns a mask of the multipliers that are the first to give their channels."""
    widths = [channels(base, i) for i in range(len(MULTIPLIERS))]
    return tuple(width > 0 and width not in widths[:i] for i, width in enumerate(widths))


def multiplier_index(block: Block, base: int) -> int:
    """Returns the index of the first multiplier that gives a block's width.

    Raises:
        GenomeError: names the block, and the widths that there are.
    """
    width = getattr(block.op, "width", None)
    for index in range(1, len(MULTIPLIERS)):
        if channels(base, index) == width:
            return index
    raise GenomeError(f"block {block.id!r} is {width} wide; the space has {distinct(base)}")


def layer_mask(choices: Sequence[LayerSpec | None], source: int, width: int) -> tuple[bool, ...]:
    """Returns a mask of the layers that aren't None and don't repeat an earlier one.

    Two layers repeat each other where they come to the same network: of a map of 8 channels both
    ratios of a Tucker block leave 8, the least there are.

    Args:
        choices: The layers that there are at this place.
        source: Channels that the layer reads.
        width: Channels that it gives.
    """
    earlier: set[tuple[LayerSpec, int, int]] = set()
    mask = []
    for layer in choices:
        if layer is None or not layer.narrows:
            mask.append(layer is not None)
            continue
        into, out = layer.ratios
        hidden = (layer._replace(ratios=(0, 0)), compressed(source, into), compressed(width, out))
        mask.append(hidden not in earlier)
        earlier.add(hidden)
    return tuple(mask)


def layer_of(block: Block) -> LayerSpec | None:
    """Returns what a block does, but for its width and stride; None where it is no layer."""
    op = block.op
    if isinstance(op, InvertedResidual | FusedInvertedResidual):
        return LayerSpec(op.type, op.kernel, op.expansion)
    if isinstance(op, Tucker):
        return LayerSpec(op.type, op.kernel, ratios=(op.input_ratio, op.output_ratio))
    return None


def layer_text(layer: LayerSpec) -> str:
    """Returns a layer in words: `inverted_residual k5 e4`, `tucker k3 0.25/0.75`."""
    into, out = layer.ratios
    rest = f"{into:g}/{out:g}" if layer.narrows else f"e{layer.expansion:g}"
    return f"{layer.type} k{layer.kernel} {rest}"


@remembered
def style(activations: Activations, coarse: bool, excite: bool) -> BlockStyle:
    """Returns the style of a stage; squeeze-excite is built as MobileDet-CPU's.

    Args:
        activations: Of the network; `mixed` is ReLU6 and, on coarse maps, hard-swish.
        coarse: Whether the stride is 16 or more.
        excite: Whether there is squeeze-excite.
    """
    mixed: Activation = "hard_swish" if coarse else "relu6"
    chosen: Activation = mixed if activations == "mixed" else activations
    return BlockStyle(chosen, SqueezeExcite(activation=chosen, gate="sigmoid") if excite else None)
