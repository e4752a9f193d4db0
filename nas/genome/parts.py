"""The schema of a genome's parts: operations, edges, taps, necks, heads, input and scale.

Every part is frozen data without behaviour.  A part's ``type`` chooses its fields, so a kernel
size can't stand where nothing reads it.  Widths are base widths; ``Scale`` turns them into the
widths of the deployed network.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["none", "relu", "relu6", "swish", "hard_swish", "sigmoid", "hard_sigmoid"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Width = Annotated[int, Field(ge=1, le=16384)]
Kernel = Annotated[int, Field(ge=1, le=31)]
Stride = Literal[1, 2, 4]
Padding = Annotated[int, Field(ge=0, le=31)]
Fraction = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

IMAGE = "image"
"""The name by which a block reads the input picture."""


class Part(BaseModel):
    """The base of all parts: frozen and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @cached_property
    def signature(self) -> str:
        """All fields as one string, computed once: what keys and cost tables are made from."""
        return self.model_dump_json()

    def but(self, **changes: Any) -> Self:
        """A checked copy with other fields (``model_copy`` would keep stale cached strings)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})


# --- operations -------------------------------------------------------------------------------


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

# --- edges ------------------------------------------------------------------------------------


class Direct(Part):
    """The parent's map as it is: same size and, under a sum, same channels."""

    type: Literal["direct"] = "direct"


class AlphaResample(Part):
    """SpineNet's resampling: 1×1 to ``alpha`` of the parent's base width, scale, 1×1.

    Down by 2: one strided 3×3 convolution; further down: one max-pool after it.  Up: nearest.
    Source: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet.py.
    """

    type: Literal["alpha"] = "alpha"
    alpha: Fraction = 0.5
    activation: Activation = "relu"
    pool_padding: Literal["same", "symmetric"] = "same"


class SeparableResample(Part):
    """SpineNet-Mobile's resampling: depthwise strided 3×3 steps down, nearest up, one 1×1."""

    type: Literal["separable"] = "separable"
    activation: Activation = "swish"


Resample = Annotated[Direct | AlphaResample | SeparableResample, Field(discriminator="type")]


class Edge(Part):
    """One input of a block: which block, at which point, resampled how."""

    block: Name
    point: Literal["out", "expand"] = "out"
    resample: Resample = Direct()


class Block(Part):
    """One node of the graph.

    Attributes:
        id: unique name; ``image`` is taken.
        level: nominal log2 stride of the output.
        inputs: ordered edges from blocks that are listed earlier, or from ``image``.
        combine: how several inputs become one; ``weighted_sum`` learns one factor per input.
        fuse_activation: applied to the combined input, before the operation.
        repeats: how many copies follow each other; copies after the first keep width and size.
        rank: position for stochastic depth, 1 to n; None never drops the block.
    """

    id: Name
    level: Annotated[int, Field(ge=0, le=10)]
    op: Operation
    inputs: Annotated[tuple[Edge, ...], Field(min_length=1, max_length=64)]
    combine: Literal["sum", "concat", "weighted_sum"] = "sum"
    fuse_activation: Activation = "none"
    repeats: Annotated[int, Field(ge=1, le=16)] = 1
    rank: Annotated[int, Field(ge=1, le=999)] | None = None


# --- taps and necks ---------------------------------------------------------------------------


class L2Norm(Part):
    """Unit norm over channels times one learnt factor per channel (SSD's conv4_3)."""

    type: Literal["l2_norm"] = "l2_norm"
    scale: Positive = 20.0


class Pool(Part):
    """Pooling of a tapped map, kernel equal to stride, no padding."""

    type: Literal["pool"] = "pool"
    mode: Literal["max", "average"] = "max"
    stride: Stride = 2


class Tap(Part):
    """A map that the neck reads; ``training_only`` maps are absent from what is shipped."""

    block: Name
    point: Literal["out", "expand"] = "out"
    transform: Annotated[L2Norm | Pool, Field(discriminator="type")] | None = None
    training_only: bool = False


class NoNeck(Part):
    """Taps go to the head as they are."""

    type: Literal["none"] = "none"


class Endpoints(Part):
    """One 1×1 convolution with batch norm and activation per tap, to a common width (SpineNet)."""

    type: Literal["endpoints"] = "endpoints"
    width: Width = 256
    activation: Activation = "relu"


class RFCR(Part):
    """YOLO-ReT's raw feature collection and redistribution.

    Every tap goes through its own 1×1 convolution to ``collect`` channels, is resampled to the
    size of tap ``target``, summed with learnt factors, passes a depthwise ``kernel`` and a 1×1 to
    ``fuse`` channels, and is concatenated, resampled, to each of the taps in ``outputs``.
    Source: prakharg24/yoloret, code/yolo3/model.py.
    """

    type: Literal["rfcr"] = "rfcr"
    collect: Width = 48
    fuse: Width = 96
    kernel: Kernel = 5
    target: Annotated[int, Field(ge=0)]
    outputs: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    activation: Activation = "relu6"


Neck = Annotated[NoNeck | Endpoints | RFCR, Field(discriminator="type")]

# --- heads ------------------------------------------------------------------------------------


class OctaveAnchors(Part):
    """RetinaNet's anchors of one level: octave scales × aspect ratios (width over height).

    ``size`` times the level's stride is the side of the smallest square anchor.
    """

    type: Literal["octave"] = "octave"
    size: Positive = 3.0
    scales: tuple[Positive, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: tuple[Positive, ...] = (1.0, 2.0, 0.5)

    @property
    def count(self) -> int:
        """Anchors at one place."""
        return len(self.scales) * len(self.ratios)


class DefaultBoxes(Part):
    """SSD's default boxes of one level, as fractions of the input's side.

    Two squares, of ``scale`` and of the geometric mean with ``next_scale``, then one pair per
    aspect ratio.  ``step`` is the distance of centres in pixels; None is input over map size.
    """

    type: Literal["default_boxes"] = "default_boxes"
    scale: Positive
    next_scale: Positive
    ratios: tuple[Positive, ...] = (2.0, 3.0)
    step: Positive | None = None
    clip: bool = True

    @property
    def count(self) -> int:
        """Boxes at one place."""
        return 2 + 2 * len(self.ratios)


Anchors = Annotated[OctaveAnchors | DefaultBoxes, Field(discriminator="type")]


class Postprocess(Part):
    """From scores to detections: threshold, candidates before NMS, NMS, detections kept."""

    score: Annotated[float, Field(ge=0, lt=1)] = 0.05
    candidates: Annotated[int, Field(ge=1)] = 5000
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    detections: Annotated[int, Field(ge=1)] = 100


class RetinaNetHead(Part):
    """Two towers shared over levels, with batch norm of each level's own.

    Loss and matching constants: tensorflow/tpu, models/official/detection/configs and
    modeling/losses.py; ``postprocess`` as there.
    """

    type: Literal["retinanet"] = "retinanet"
    width: Width = 256
    depth: Annotated[int, Field(ge=0, le=16)] = 4
    separable: bool = False
    activation: Activation = "relu"
    anchors: Annotated[tuple[Anchors, ...], Field(min_length=1)]
    focal_alpha: Positive = 0.25
    focal_gamma: Annotated[float, Field(ge=0)] = 1.5
    huber_delta: Positive = 0.1
    box_weight: Positive = 50.0
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    postprocess: Postprocess = Postprocess()


class SSDHead(Part):
    """One predictor pair per map, nothing shared: full convolutions (SSD) or separable (SSDlite).

    ``box_values`` 8 predicts a log variance and a mean per coordinate (BiDet).
    """

    type: Literal["ssd"] = "ssd"
    separable: bool = False
    kernel: Kernel = 3
    activation: Activation = "relu6"
    box_values: Literal[4, 8] = 4
    anchors: Annotated[tuple[Anchors, ...], Field(min_length=1)]
    negatives: Positive = 3.0  # hardest negatives kept per positive
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    postprocess: Postprocess = Postprocess(score=0.001, candidates=300, iou=0.55, detections=300)


class Teacher(Part):
    """MimicDet's two-stage head: RoI features from the finer maps; only there in training."""

    levels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    pool: Annotated[int, Field(ge=1, le=32)] = 7
    width: Width = 256
    hidden: Width = 1024


class MimicDetHead(Part):
    """Refinement, a one-stage student with deformable convolutions, and a teacher for training.

    ``student_levels`` and ``Teacher.levels`` are positions in the neck's maps; anchors belong to
    the student's levels, one a place.
    """

    type: Literal["mimicdet"] = "mimicdet"
    width: Width = 256
    hidden: Width = 1024
    first_kernel: Kernel = 3
    other_kernel: Kernel = 5
    offset_hidden: tuple[Width, Width] = (64, 128)
    anchors: Annotated[tuple[Anchors, ...], Field(min_length=1)]
    student_levels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    teacher: Teacher | None = None
    postprocess: Postprocess = Postprocess(score=0.005, candidates=1000, iou=0.6, detections=100)


Head = Annotated[RetinaNetHead | SSDHead | MimicDetHead, Field(discriminator="type")]

# --- the whole --------------------------------------------------------------------------------

Triple = tuple[float, float, float]


class Input(Part):
    """What the network sees: a square of ``size`` pixels, and how a picture becomes one.

    ``letterbox`` keeps the aspect ratio and pads right and bottom; ``stretch`` doesn't.
    ``mean`` and ``std`` are for RGB in 0…1.
    """

    size: Annotated[int, Field(ge=32, le=4096)] = 640
    resize: Literal["letterbox", "stretch"] = "letterbox"
    mean: Triple = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)


class BatchNorm(Part):
    """Batch norm everywhere; ``momentum`` as PyTorch counts it (0.01 is TensorFlow's 0.99)."""

    eps: Positive = 1e-3
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.01


class Scale(Part):
    """How base widths become widths: ``divisor`` 1 truncates, others round to a multiple."""

    width: Fraction = 1.0
    divisor: Annotated[int, Field(ge=1, le=64)] = 1


class Truncation(Part):
    """Removes the blocks listed after ``after`` up to and with ``through``.

    Whoever read one of them reads ``after`` instead.
    """

    after: Name
    through: Name
