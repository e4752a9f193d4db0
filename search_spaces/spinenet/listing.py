"""From a published block listing to a genome: SpineNet's widths, stem and dangling-block rule.

Source of the numbers: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet.py
and, for SpineNet-Mobile, spinenet_mbconv.py beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from nas.genome import Genome
from nas.genome.blocks import IMAGE, Block, Edge, Tap
from nas.genome.memo import remembered
from nas.genome.network import Input, Scale
from nas.genome.parts import (
    AlphaResample,
    Bottleneck,
    Conv,
    Direct,
    Endpoints,
    InvertedResidual,
    MaxPool,
    OctaveAnchors,
    Operation,
    Resample,
    Residual,
    RetinaNetHead,
    SeparableResample,
    SqueezeExcite,
)
from search_spaces.base import DeploySettings

WIDTHS = {1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
"""Channels of a block's 3×3 convolution by level, before the width factor (FILTER_SIZE_MAP)."""

MOBILE_WIDTHS = {0: 8, 1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112}
"""Channels of SpineNet-Mobile's blocks by level; 0 is its stem convolution."""

STEM_WIDTH = 64
"""Channels of the 7×7 stem convolution; the width factor doesn't touch it."""

OUTPUT_LEVELS = (3, 4, 5, 6, 7)
STEM_BLOCKS = ("0", "1")
"""Ids of the two stem blocks that the first permuted blocks can read."""

BlockType = Literal["bottleneck", "residual", "inverted_residual"]
BlockFamily = Literal["resnet", "mobile"]
ActivationName = Literal["relu", "swish"]


class PermutedBlock(NamedTuple):
    """One permuted block of a listing; parents are indices that count the two stem blocks."""

    level: int
    type: BlockType
    parents: tuple[int, int]
    output: bool = False


class SpineNetDeploySettings(DeploySettings):
    """How a listing is deployed; the defaults are SpineNet-49's.

    Attributes:
        block: `resnet`, bottlenecks and residuals; or `mobile`, SpineNet-Mobile's inverted
            residuals with squeeze-excite, its own stem, resampling by depthwise steps, and a
            separable head. Mobile has no α (`alpha` isn't read) and no repeats; its authors'
            49 is deployed with `activation: swish`, 48 endpoints, head_width 48, 384 px.
        width: factor on `WIDTHS` or `MOBILE_WIDTHS`.
        alpha: α of each resampling; repeats: copies of each block.
        endpoints: channels of P3 to P7; head_depth, head_width: the towers of the head.
        anchor_size: side of the smallest anchor over its level's stride.
        input_size: side of the input in pixels.
    """

    block: BlockFamily = "resnet"
    alpha: float = Field(default=0.5, gt=0, le=16)
    repeats: int = Field(default=1, ge=1, le=16)
    endpoints: int = Field(default=256, ge=1, le=16384)
    head_depth: int = Field(default=4, ge=0, le=16)
    head_width: int = Field(default=256, ge=1, le=16384)
    anchor_size: float = Field(default=3.0, gt=0, le=64)
    input_size: int = Field(default=640, ge=128, le=4096)
    activation: ActivationName = "relu"

    @model_validator(mode="after")
    def _mobile_is_not_repeated(self) -> Self:
        if self.block == "mobile" and self.repeats > 1:
            raise ValueError(f"repeats is {self.repeats} with block: mobile; it should be 1")
        return self


def genome_from_listing(
    rows: Sequence[PermutedBlock], deploy: SpineNetDeploySettings | None = None, name: str = ""
) -> Genome:
    """Makes the genome of a listing, with merges of dangling blocks as explicit edges.

    Args:
        rows: permuted blocks in order; row *i* has index *i* + 2 and is named by it.
        deploy: scale, head and input.
        name: a label; it isn't part of the key.
    """
    deploy = deploy or SpineNetDeploySettings()
    settings = deploy.block, deploy.alpha, deploy.activation, deploy.repeats
    stem = _mobile_stem if deploy.block == "mobile" else _stem
    blocks = list(stem(deploy.repeats, deploy.activation))
    merges = dangling_merges(rows, deploy.block)
    blocks += [
        _block(i, row, merged, *settings)
        for i, (row, merged) in enumerate(zip(rows, merges, strict=True))
    ]
    outputs = {row.level: i + len(STEM_BLOCKS) for i, row in enumerate(rows) if row.output}
    return Genome(
        name=name,
        input=_input(deploy.input_size),
        blocks=tuple(blocks),
        taps=tuple(_tap(outputs[level]) for level in sorted(outputs)),
        neck=_neck(deploy.endpoints, deploy.activation),
        head=_head(deploy, len(outputs)),
        scale=_scale(deploy.width),
    )


def dangling_merges(
    rows: Sequence[PermutedBlock], family: BlockFamily = "resnet"
) -> list[tuple[int, ...]]:
    """Returns for each row the indices of earlier blocks that are added to its input as they are.

    A block that nobody has read yet joins the first output block built after it that has its
    level and its width; the stem's blocks count too. The listing's order decides, not the
    picture's size.
    """
    stem = [(2, "bottleneck")] * len(STEM_BLOCKS)
    if family == "mobile":
        stem = [(1, "inverted_residual"), (2, "inverted_residual")]
    # Index of each block that nobody has read yet, and what a block has to equal to take it in:
    # level and type, from which its channels follow.
    unread = dict(enumerate(stem))
    merges: list[tuple[int, ...]] = []
    for index, row in enumerate(rows, start=len(STEM_BLOCKS)):
        shape = (row.level, row.type)
        for parent in row.parents:
            unread.pop(parent, None)
        joined: tuple[int, ...] = ()
        # Its parents are read now, before it looks for others: what it reads it doesn't add again.
        if row.output:
            joined = tuple([j for j, other in unread.items() if other == shape])
            for j in joined:
                del unread[j]
        merges.append(joined)
        unread[index] = shape
    return merges


# --- parts, made and validated once: genomes share them and their cached signatures --------------

_DIRECT = Direct()


@remembered
def _block(
    index: int,
    row: PermutedBlock,
    merged: tuple[int, ...],
    family: BlockFamily,
    alpha: float,
    activation: ActivationName,
    repeats: int,
) -> Block:
    """Returns the block of row `index`, with direct edges from those that are merged into it."""
    resample = _resample(family, alpha, activation)
    edges = [_edge(parent, resample) for parent in row.parents]
    return Block(
        id=str(index + len(STEM_BLOCKS)),
        level=row.level,
        op=_operation(row.type, row.level, activation),
        inputs=(*edges, *[_edge(parent, _DIRECT) for parent in merged]),
        fuse_activation=activation,
        repeats=repeats,
        rank=index + 1,
    )


@remembered
def _stem(repeats: int, activation: ActivationName) -> tuple[Block, ...]:
    convolution = Conv(width=STEM_WIDTH, kernel=7, stride=2, activation=activation, scalable=False)
    bottleneck = _operation("bottleneck", 2, activation)
    return (
        Block(id="stem", level=1, op=convolution, inputs=(Edge(block=IMAGE),)),
        Block(id="pool", level=2, op=MaxPool(), inputs=(Edge(block="stem"),)),
        Block(id="0", level=2, op=bottleneck, inputs=(Edge(block="pool"),), repeats=repeats),
        Block(id="1", level=2, op=bottleneck, inputs=(Edge(block="0"),), repeats=repeats),
    )


@remembered
def _mobile_stem(repeats: int, activation: ActivationName) -> tuple[Block, ...]:
    """Returns a convolution of stride 2 and blocks of levels 1 and 2; `repeats` is 1."""
    convolution = Conv(width=MOBILE_WIDTHS[0], stride=2, activation=activation)
    first = _inverted_residual(1, activation).replace(shortcut=False)
    second = _inverted_residual(2, activation).replace(stride=2, shortcut=False)
    return (
        Block(id="stem", level=1, op=convolution, inputs=(Edge(block=IMAGE),)),
        Block(id="0", level=1, op=first, inputs=(Edge(block="stem"),)),
        Block(id="1", level=2, op=second, inputs=(Edge(block="0"),)),
    )


@remembered
def _operation(kind: BlockType, level: int, activation: ActivationName) -> Operation:
    return _OPERATIONS[kind](level, activation)


def _bottleneck(level: int, activation: ActivationName) -> Bottleneck:
    return Bottleneck(width=WIDTHS[level], activation=activation)


def _residual(level: int, activation: ActivationName) -> Residual:
    return Residual(width=WIDTHS[level], activation=activation)


def _inverted_residual(level: int, activation: ActivationName) -> InvertedResidual:
    """Returns a block expanded by 6, with squeeze-excite of a fifth of the channels it reads."""
    attention = SqueezeExcite(
        ratio=0.2, of="input", divisor=1, activation=activation, gate="sigmoid"
    )
    return InvertedResidual(
        width=MOBILE_WIDTHS[level], squeeze_excite=attention, activation=activation
    )


_OPERATIONS: dict[BlockType, Callable[[int, ActivationName], Operation]] = {
    "bottleneck": _bottleneck,
    "residual": _residual,
    "inverted_residual": _inverted_residual,
}


@remembered
def _resample(family: BlockFamily, alpha: float, activation: ActivationName) -> Resample:
    if family == "mobile":
        return SeparableResample(activation=activation)
    return AlphaResample(alpha=alpha, activation=activation)


@remembered
def _edge(parent: int, resample: Resample) -> Edge:
    return Edge(block=str(parent), resample=resample)


@remembered
def _tap(block: int) -> Tap:
    return Tap(block=str(block))


@remembered
def _input(size: int) -> Input:
    return Input(size=size)


@remembered
def _neck(width: int, activation: ActivationName) -> Endpoints:
    return Endpoints(width=width, activation=activation)


@remembered
def _head(deploy: SpineNetDeploySettings, maps: int) -> RetinaNetHead:
    return RetinaNetHead(
        width=deploy.head_width,
        depth=deploy.head_depth,
        separable=deploy.block == "mobile",
        activation=deploy.activation,
        anchors=(OctaveAnchors(size=deploy.anchor_size),) * maps,
    )


@remembered
def _scale(width: float) -> Scale:
    return Scale(width=width)
