"""Heads, from maps to detections, with the constants of their losses and post-processing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.genome.anchors import Anchors
from nas.genome.part import Activation, Kernel, Part, Positive, Width


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
