"""From rows to the genome of a mobile detector: a chain of blocks, taps, extra blocks, head.

Sources: torchvision, models/mobilenetv3.py and models/detection/ssdlite.py; tensorflow/models,
research/object_detection/models/ssd_mobiledet_feature_extractor.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from nas.errors import GenomeError
from nas.genome import Genome
from nas.genome.blocks import IMAGE, Block, Edge, Tap
from nas.genome.memo import remembered
from nas.genome.network import BatchNorm, Input, Scale, Triple, Truncation
from nas.genome.part import Activation, Positive, Stride
from nas.genome.parts import (
    Conv,
    DefaultBoxes,
    FusedInvertedResidual,
    HeadPart,
    InvertedResidual,
    Neck,
    NoNeck,
    Operation,
    Pool,
    Postprocess,
    SqueezeExcite,
    SSDHead,
    Tucker,
)
from search_spaces.base import DeploySettings

LayerType = Literal["conv", "inverted_residual", "fused_inverted_residual", "tucker"]
Point = Literal["out", "expand"]

EXTRAS = (512, 256, 256, 128)
"""Widths of SSDlite's extra blocks, each of which halves the map once more."""


class LayerSpec(NamedTuple):
    """What a block does, but for its width and stride.

    Attributes:
        type: as in the schema.
        kernel: side of the depthwise, or of the full, convolution.
        expansion: hidden over input channels (inverted_residual and fused_inverted_residual).
        ratios: of the hidden channels of a tucker block to its input's and its output's.
    """

    type: LayerType
    kernel: int = 3
    expansion: float = 1.0
    ratios: tuple[float, float] = (0.25, 0.75)

    @property
    def narrows(self) -> bool:
        """Tells whether it has hidden channels by `ratios`, and no squeeze-excite."""
        return self.type == "tucker"


class BlockStyle(NamedTuple):
    """What a network's blocks share: activation, squeeze-excite or None, and padding.

    A conv and a tucker block have no squeeze-excite, whatever the style says. Padding "same" is
    TensorFlow's, which differs where there is a stride; convs and inverted residuals can have it.
    """

    activation: Activation = "relu6"
    squeeze_excite: SqueezeExcite | None = None
    padding: Literal["same"] | None = None


class ChainBlock(NamedTuple):
    """One block of a chain, reading the row before it; the first row reads the picture.

    Attributes:
        layer: what the block does.
        width: output channels, before the width factor.
        stride: of the block's spatial convolution.
        shortcut: whether the input is added to the output; both must have one shape.
        style: activation and squeeze-excite.
        scalable: False leaves the width of a conv as it is, whatever the factor.
    """

    layer: LayerSpec
    width: int
    stride: Stride = 1
    shortcut: bool = False
    style: BlockStyle = BlockStyle()
    scalable: bool = True


class Tapped(NamedTuple):
    """A map that leaves the chain: the row's output, or its expanded map, perhaps max-pooled."""

    row: int
    point: Point = "out"
    pool: Stride = 1


class MobileDeploySettings(DeploySettings):
    """How a chain is deployed; the defaults are torchvision's SSDlite320.

    Attributes:
        width: factor on all widths, which are rounded to multiples of `divisor`.
        input_size, resize, mean, std: see `nas.genome.network.Input`; one value for all colours,
            or three.
        eps, momentum: of batch norm, momentum as PyTorch counts it.
    """

    divisor: int = Field(default=8, ge=1, le=64)
    input_size: int = Field(default=320, ge=32, le=4096)
    resize: Literal["letterbox", "stretch"] = "stretch"
    mean: float | Triple = 0.5
    std: Positive | tuple[Positive, Positive, Positive] = 0.5
    eps: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.03, gt=0, le=1)


def stage(
    layers: Sequence[LayerSpec], width: int, stride: Stride, style: BlockStyle | None = None
) -> tuple[ChainBlock, ...]:
    """Returns rows of one width: the first has the stride and no shortcut, all others a shortcut.

    MobileDets' rule: at the head of a stage there is none even where shapes are equal.
    """
    shared = style or BlockStyle()
    return tuple(
        ChainBlock(layer, width, 1 if i else stride, shortcut=i > 0, style=shared)
        for i, layer in enumerate(layers)
    )


def genome_from_listing(
    rows: Sequence[ChainBlock],
    taps: Sequence[Tapped],
    head: HeadPart,
    *,
    extras: Sequence[int] = (),
    neck: Neck | None = None,
    deploy: MobileDeploySettings | None = None,
    truncation: tuple[int, int] | None = None,
    name: str = "",
) -> Genome:
    """Makes the genome of a mobile detector; row *i* becomes the block of id `str(i)`.

    Args:
        rows: the chain, from the stem on.
        taps: what leaves it, in the order in which neck and head read the maps.
        head: with anchors for each of the maps that the neck gives.
        extras: widths of SSDlite's extra blocks behind the last row; each adds a tap.
        neck: none by default.
        deploy: width factor, input and batch norm.
        truncation: removes the rows after the first number up to and with the second.
        name: a label; it isn't part of the key.

    Raises:
        GenomeError: for no rows, or a tap of a row that there isn't.
    """
    deploy = deploy or MobileDeploySettings()
    if not rows or any(not 0 <= tap.row < len(rows) for tap in taps):
        raise GenomeError(
            f"taps read the rows {[tap.row for tap in taps]} of {len(rows)}; "
            f"legal: at least one row, and taps of 0 to {len(rows) - 1}"
        )
    blocks = _chain(rows)
    further = _extras(extras, blocks[-1], rows[-1].width) if extras else ()
    cut = None
    if truncation is not None:
        cut = Truncation(after=str(truncation[0]), through=str(truncation[1]))
    return Genome(
        name=name,
        input=_input(deploy),
        blocks=(*blocks, *further),
        taps=(*(_tap(*tap) for tap in taps), *(Tap(block=block.id) for block in further)),
        neck=neck or NoNeck(),
        head=head,
        norm=_norm(deploy),
        scale=_scale(deploy),
        truncation=cut,
    )


def ssdlite_head(
    anchors: Sequence[DefaultBoxes], postprocess: Postprocess | None = None
) -> SSDHead:
    """Returns SSDlite's separable head for these boxes; its constants are torchvision's."""
    head = SSDHead(separable=True, anchors=tuple(anchors))
    return head if postprocess is None else head.replace(postprocess=postprocess)


@remembered
def default_boxes(
    levels: int,
    smallest: float = 0.2,
    largest: float = 0.95,
    ratios: tuple[float, ...] = (2.0, 3.0),
    *,
    three_on_first: bool = False,
    clip: bool = True,
) -> tuple[DefaultBoxes, ...]:
    """Returns SSD's boxes for maps from fine to coarse, their scales evenly spaced.

    Args:
        levels: Number of maps.
        smallest: Scale on the first map, a share of the input's side.
        largest: Scale on the last map.
        ratios: Width over height of each pair; the second of a pair has the inverse.
        three_on_first: Whether the first map is as TensorFlow has it: a square of scale 0.1 and
            one pair of ratio 2, so 3 boxes a place. (On other maps TensorFlow lists the second
            square last.)
        clip: Whether sides end at the picture's (torchvision's do, TensorFlow's don't).

    Source: torchvision, models/detection/anchor_utils.py; tensorflow/models,
    research/object_detection/anchor_generators/multiple_grid_anchor_generator.py.
    """
    steps = max(levels - 1, 1)
    scales = [smallest + (largest - smallest) * k / steps for k in range(levels)] + [1.0]
    boxes = [
        DefaultBoxes(scale=scale, next_scale=following, ratios=ratios, clip=clip)
        for scale, following in itertools.pairwise(scales)
    ]
    if three_on_first and boxes:
        boxes[0] = boxes[0].replace(ratios=(2.0,), squares=(0.1,))
    return tuple(boxes)


# --- blocks, made and validated once: genomes share them and their cached signatures -------------


def _chain(rows: Sequence[ChainBlock]) -> tuple[Block, ...]:
    blocks, level, parent = [], 0, IMAGE
    for i, row in enumerate(rows):
        level += int(math.log2(row.stride))
        blocks.append(_block(str(i), level, row, parent))
        parent = str(i)
    return tuple(blocks)


@remembered
def _block(name: str, level: int, row: ChainBlock, parent: str) -> Block:
    return Block(id=name, level=level, op=operation_of(row), inputs=(Edge(block=parent),))


@remembered
def operation_of(row: ChainBlock) -> Operation:
    """Returns what the block of a row does."""
    return _OPERATIONS[row.layer.type](row)


def _shared(row: ChainBlock) -> dict[str, Any]:
    fields = {
        "width": row.width,
        "kernel": row.layer.kernel,
        "stride": row.stride,
        "activation": row.style.activation,
    }
    # At stride 1 the kernels, which are odd, are padded alike by both rules.
    return fields | ({"padding": row.style.padding} if row.stride > 1 and row.style.padding else {})


def _conv(row: ChainBlock) -> Conv:
    shortcut: Literal["identity", "none"] = "identity" if row.shortcut else "none"
    return Conv(**_shared(row), shortcut=shortcut, scalable=row.scalable)


def _tucker(row: ChainBlock) -> Tucker:
    into, out = row.layer.ratios
    return Tucker(**_shared(row), shortcut=row.shortcut, input_ratio=into, output_ratio=out)


def _expanding(row: ChainBlock) -> dict[str, Any]:
    expansion, attention = row.layer.expansion, row.style.squeeze_excite
    fields = {"shortcut": row.shortcut, "expansion": expansion, "squeeze_excite": attention}
    return _shared(row) | fields


_OPERATIONS: dict[LayerType, Callable[[ChainBlock], Operation]] = {
    "conv": _conv,
    "tucker": _tucker,
    "inverted_residual": lambda row: InvertedResidual(**_expanding(row)),
    "fused_inverted_residual": lambda row: FusedInvertedResidual(**_expanding(row)),
}


def _extras(widths: Sequence[int], last: Block, channels: int) -> tuple[Block, ...]:
    """Returns SSDlite's extra blocks: 1×1 to half the width, depthwise of stride 2, 1×1; ReLU6."""
    blocks, parent = [], last.id
    for i, width in enumerate(widths):
        blocks.append(_extra(i, last.level + i + 1, width, channels, parent))
        parent, channels = blocks[-1].id, width
    return tuple(blocks)


@remembered
def _extra(index: int, level: int, width: int, channels: int, parent: str) -> Block:
    operation = InvertedResidual(
        width=width,
        expansion=width / 2 / channels,
        stride=2,
        activation="relu6",
        project_activation="relu6",
        shortcut=False,
    )
    return Block(id=f"extra{index}", level=level, op=operation, inputs=(Edge(block=parent),))


@remembered
def _tap(row: int, point: Point, pool: Stride) -> Tap:
    transform = Pool(stride=pool) if pool > 1 else None
    return Tap(block=str(row), point=point, transform=transform)


@remembered
def _input(deploy: MobileDeploySettings) -> Input:
    return Input(
        size=deploy.input_size,
        resize=deploy.resize,
        mean=_triple(deploy.mean),
        std=_triple(deploy.std),
    )


def _triple(value: float | Triple) -> Triple:
    return value if isinstance(value, tuple) else (value,) * 3


@remembered
def _norm(deploy: MobileDeploySettings) -> BatchNorm:
    return BatchNorm(eps=deploy.eps, momentum=deploy.momentum)


@remembered
def _scale(deploy: MobileDeploySettings) -> Scale:
    return Scale(width=deploy.width, divisor=deploy.divisor)
