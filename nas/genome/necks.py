"""Taps and necks: which maps leave the graph, and what becomes of them before the head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.genome.part import Activation, Kernel, Name, Part, Positive, Stride, Width


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

    @property
    def output(self) -> int:
        """Which of the block's maps is read."""
        return int(self.point == "expand")


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
