"""The parts of a genome: one file a part, each with its fields, shape rule and operators.

No torch here: `nas.models` has a module of the same name for each.
"""

from __future__ import annotations

from nas.genome.parts.alpha import AlphaResample
from nas.genome.parts.anchors import Anchors, DefaultBoxes, OctaveAnchors
from nas.genome.parts.bottleneck import Bottleneck
from nas.genome.parts.conv import Conv
from nas.genome.parts.direct import Direct
from nas.genome.parts.endpoints import Endpoints
from nas.genome.parts.fused_inverted_residual import FusedInvertedResidual
from nas.genome.parts.head import HeadPart, Postprocess
from nas.genome.parts.inverted_residual import InvertedResidual
from nas.genome.parts.l2_norm import L2Norm
from nas.genome.parts.max_pool import MaxPool
from nas.genome.parts.mimicdet import MimicDetHead, Teacher
from nas.genome.parts.neck import Neck
from nas.genome.parts.no_neck import NoNeck
from nas.genome.parts.operation import Operation, Style, Window
from nas.genome.parts.pool import Pool
from nas.genome.parts.resample import Resample
from nas.genome.parts.residual import Residual
from nas.genome.parts.retinanet import RetinaNetHead
from nas.genome.parts.rfcr import RFCR
from nas.genome.parts.separable import SeparableResample
from nas.genome.parts.squeeze_excite import SqueezeExcite
from nas.genome.parts.ssd import SSDHead
from nas.genome.parts.tables import (
    ANCHORS,
    HEADS,
    NECKS,
    OPERATIONS,
    RESAMPLES,
    TRANSFORMS,
    PartTable,
)
from nas.genome.parts.transform import Transform
from nas.genome.parts.tucker import Tucker

__all__ = [
    "ANCHORS",
    "HEADS",
    "NECKS",
    "OPERATIONS",
    "RESAMPLES",
    "RFCR",
    "TRANSFORMS",
    "AlphaResample",
    "Anchors",
    "Bottleneck",
    "Conv",
    "DefaultBoxes",
    "Direct",
    "Endpoints",
    "FusedInvertedResidual",
    "HeadPart",
    "InvertedResidual",
    "L2Norm",
    "MaxPool",
    "MimicDetHead",
    "Neck",
    "NoNeck",
    "OctaveAnchors",
    "Operation",
    "PartTable",
    "Pool",
    "Postprocess",
    "Resample",
    "Residual",
    "RetinaNetHead",
    "SSDHead",
    "SeparableResample",
    "SqueezeExcite",
    "Style",
    "Teacher",
    "Transform",
    "Tucker",
    "Window",
]
