"""The operations that a block can be, from a convolution to MobileDets' bottlenecks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.genome.part import Activation, Fraction, Kernel, Padding, Part, Stride, Width


class Conv(Part):
    """Convolution, batch norm, activation; real or binary, with an optional shortcut.

    ``padding`` None is the symmetric ``dilation * (kernel - 1) // 2``.  With
    ``precision="binary"`` input and weights are signs and the weights carry one scale per filter
    (BiDet).  The ``average_pool`` shortcut is a 2×2 average pool of the same stride, a real 1×1
    convolution and batch norm; ``ceil`` rounds that pool's size up.
    """

    type: Literal["conv"] = "conv"
    width: Width
    kernel: Kernel = 3
    stride: Stride = 1
    padding: Padding | None = None
    dilation: Annotated[int, Field(ge=1, le=16)] = 1
    bias: bool = False
    norm: bool = True
    activation: Activation = "relu"
    precision: Literal["real", "binary"] = "real"
    shortcut: Literal["none", "identity", "average_pool"] = "none"
    ceil: bool = False
    scalable: bool = True  # False: Scale leaves this width alone (SpineNet's stem convolution)


class MaxPool(Part):
    """Max pooling; ``padding="same"`` pads as TensorFlow does, at the bottom and right first."""

    type: Literal["max_pool"] = "max_pool"
    kernel: Kernel = 3
    stride: Stride = 2
    padding: Padding | Literal["same"] = "same"
    ceil: bool = False


class Bottleneck(Part):
    """1×1 to ``width``, 3×3, 1×1 to four times ``width``; activation after the addition."""

    type: Literal["bottleneck"] = "bottleneck"
    width: Width
    stride: Stride = 1
    activation: Activation = "relu"


class Residual(Part):
    """Two 3×3 convolutions of ``width``; activation after the addition."""

    type: Literal["residual"] = "residual"
    width: Width
    stride: Stride = 1
    activation: Activation = "relu"


class SqueezeExcite(Part):
    """Channel attention of ``ratio`` times the block's input or expanded channels."""

    ratio: Fraction = 0.25
    of: Literal["input", "expanded"] = "expanded"
    divisor: Annotated[int, Field(ge=1, le=64)] = 8  # 1: truncate, at least one channel
    activation: Activation = "relu"
    gate: Activation = "hard_sigmoid"


class InvertedResidual(Part):
    """1×1 expansion, depthwise convolution, optional squeeze-excite, 1×1 projection.

    ``expansion`` multiplies the input channels (rounded to the nearest integer); 1 leaves the
    expansion convolution out, less than 1 narrows (SSDlite's extra blocks, which also activate
    the projection).  ``point="expand"`` of an edge or tap reads the expanded map.
    """

    type: Literal["inverted_residual"] = "inverted_residual"
    width: Width
    expansion: Fraction = 6.0
    kernel: Kernel = 3
    stride: Stride = 1
    dilation: Annotated[int, Field(ge=1, le=16)] = 1
    squeeze_excite: SqueezeExcite | None = None
    activation: Activation = "relu6"
    project_activation: Activation = "none"
    shortcut: bool = True


class FusedInvertedResidual(Part):
    """Full k×k convolution to the expanded width, optional squeeze-excite, linear projection."""

    type: Literal["fused_inverted_residual"] = "fused_inverted_residual"
    width: Width
    expansion: Fraction = 4.0
    kernel: Kernel = 3
    stride: Stride = 1
    squeeze_excite: SqueezeExcite | None = None
    activation: Activation = "relu6"
    shortcut: bool = True


class Tucker(Part):
    """1×1 compression, full k×k convolution, linear 1×1: MobileDets' generalised bottleneck."""

    type: Literal["tucker"] = "tucker"
    width: Width
    input_ratio: Fraction = 0.25
    output_ratio: Fraction = 0.75
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu6"
    shortcut: bool = True


Operation = Annotated[
    Conv | MaxPool | Bottleneck | Residual | InvertedResidual | FusedInvertedResidual | Tucker,
    Field(discriminator="type"),
]
