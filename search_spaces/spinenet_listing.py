"""From a published block listing to a genome: SpineNet's widths, stem and dangling-block rule.

Source of the numbers: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from pydantic import Field

from nas.genome import Genome
from nas.genome.anchors import OctaveAnchors
from nas.genome.blocks import IMAGE, AlphaResample, Block, Direct, Edge
from nas.genome.heads import RetinaNetHead
from nas.genome.necks import Endpoints, Tap
from nas.genome.network import Input, Scale
from nas.genome.operations import Bottleneck, Conv, MaxPool, Residual
from nas.settings import Settings

WIDTHS = {1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
"""Channels of a block's 3×3 convolution by level, before the width factor (FILTER_SIZE_MAP)."""

STEM_WIDTH = 64
"""Channels of the 7×7 stem convolution; the width factor doesn't touch it."""

OUTPUT_LEVELS = (3, 4, 5, 6, 7)
STEM_BLOCKS = ("0", "1")
"""Ids of the two level-2 bottlenecks that the first permuted blocks can read."""

BlockType = Literal["bottleneck", "residual"]
ActivationName = Literal["relu", "swish"]


class Row(NamedTuple):
    """One permuted block of a listing; parents are indices that count the two stem blocks."""

    level: int
    type: BlockType
    parents: tuple[int, int]
    output: bool = False


class DeploySettings(Settings):
    """How a listing is deployed; the defaults are SpineNet-49's.

    Attributes:
        width: factor on ``WIDTHS``; alpha: α of each resampling; repeats: copies of each block.
        endpoints: channels of P3 to P7; head_depth, head_width: the towers of the head.
        anchor_size: side of the smallest anchor over its level's stride.
        input_size: side of the input in pixels.
    """

    width: float = Field(default=1.0, gt=0, le=16)
    alpha: float = Field(default=0.5, gt=0, le=16)
    repeats: int = Field(default=1, ge=1, le=16)
    endpoints: int = Field(default=256, ge=1, le=16384)
    head_depth: int = Field(default=4, ge=0, le=16)
    head_width: int = Field(default=256, ge=1, le=16384)
    anchor_size: float = Field(default=3.0, gt=0, le=64)
    input_size: int = Field(default=640, ge=128, le=4096)
    activation: ActivationName = "relu"


def genome_from_listing(
    rows: Sequence[Row], deploy: DeploySettings | None = None, name: str = ""
) -> Genome:
    """Makes the genome of a listing, with merges of dangling blocks as explicit edges.

    Args:
        rows: permuted blocks in order; row *i* has index *i* + 2 and is named by it.
        deploy: scale, head and input.
        name: a label; it isn't part of the key.
    """
    deploy = deploy or DeploySettings()
    settings = deploy.alpha, deploy.activation, deploy.repeats
    blocks = list(_stem(deploy.repeats, deploy.activation))
    blocks += [
        _block(i, row, merged, *settings)
        for i, (row, merged) in enumerate(zip(rows, dangling_merges(rows), strict=True))
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


def dangling_merges(rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """For each row, the indices of earlier blocks that are added to its input as they are.

    A block that nobody has read yet joins the first output block built after it that has its
    level and its width; the stem's blocks count too.  The listing's order decides, not the
    picture's size.
    """
    unread: dict[int, tuple[int, str]] = dict.fromkeys(range(len(STEM_BLOCKS)), (2, "bottleneck"))
    merges: list[tuple[int, ...]] = []
    for index, row in enumerate(rows, start=len(STEM_BLOCKS)):
        shape = (row.level, row.type)
        for parent in row.parents:
            unread.pop(parent, None)
        joined: tuple[int, ...] = ()
        if row.output:
            joined = tuple([j for j, other in unread.items() if other == shape])
            for j in joined:
                del unread[j]
        merges.append(joined)
        unread[index] = shape
    return merges


# Equal parts are made, and validated, once: genomes share them and their cached signatures.


_DIRECT = Direct()


@lru_cache(maxsize=1024)
def _block(
    index: int,
    row: Row,
    merged: tuple[int, ...],
    alpha: float,
    activation: ActivationName,
    repeats: int,
) -> Block:
    """The block of row ``index``, with direct edges from the blocks that are merged into it."""
    resample = _resample(alpha, activation)
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


@lru_cache(maxsize=64)
def _stem(repeats: int, activation: ActivationName) -> tuple[Block, ...]:
    convolution = Conv(width=STEM_WIDTH, kernel=7, stride=2, activation=activation, scalable=False)
    bottleneck = _operation("bottleneck", 2, activation)
    return (
        Block(id="stem", level=1, op=convolution, inputs=(Edge(block=IMAGE),)),
        Block(id="pool", level=2, op=MaxPool(), inputs=(Edge(block="stem"),)),
        Block(id="0", level=2, op=bottleneck, inputs=(Edge(block="pool"),), repeats=repeats),
        Block(id="1", level=2, op=bottleneck, inputs=(Edge(block="0"),), repeats=repeats),
    )


@lru_cache(maxsize=64)
def _operation(kind: BlockType, level: int, activation: ActivationName) -> Bottleneck | Residual:
    operation = {"bottleneck": Bottleneck, "residual": Residual}[kind]
    return operation(width=WIDTHS[level], activation=activation)


@lru_cache(maxsize=64)
def _resample(alpha: float, activation: ActivationName) -> AlphaResample:
    return AlphaResample(alpha=alpha, activation=activation)


@lru_cache(maxsize=4096)
def _edge(parent: int, resample: AlphaResample | Direct) -> Edge:
    return Edge(block=str(parent), resample=resample)


@lru_cache(maxsize=256)
def _tap(block: int) -> Tap:
    return Tap(block=str(block))


@lru_cache(maxsize=64)
def _input(size: int) -> Input:
    return Input(size=size)


@lru_cache(maxsize=64)
def _neck(width: int, activation: ActivationName) -> Endpoints:
    return Endpoints(width=width, activation=activation)


@lru_cache(maxsize=64)
def _head(deploy: DeploySettings, maps: int) -> RetinaNetHead:
    return RetinaNetHead(
        width=deploy.head_width,
        depth=deploy.head_depth,
        activation=deploy.activation,
        anchors=(OctaveAnchors(size=deploy.anchor_size),) * maps,
    )


@lru_cache(maxsize=64)
def _scale(width: float) -> Scale:
    return Scale(width=width)
