"""EfficientNet-Lite: inverted residuals without squeeze-excite, padded as TensorFlow pads.

Source: tensorflow/tpu, models/official/efficientnet/lite, efficientnet_lite_builder.py; stages of
models/official/efficientnet/efficientnet_builder.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from nas.genome.part import Stride
from nas.genome.widths import divisible
from search_spaces.mobile.listing import BlockStyle, ChainBlock, stage
from search_spaces.mobile.zoo import ibn, stem

STEM = 32
"""Channels of the first convolution, whatever the factor on widths."""

DEPLOYED: dict[str, Any] = {"mean": 127 / 255, "std": 128 / 255, "eps": 1e-3, "momentum": 0.01}
"""Input and batch norm of the published weights; a recipe may train with another momentum."""

_STYLE = BlockStyle("relu6", padding="same")


class _Stage(NamedTuple):
    kernel: int
    expansion: float
    width: int
    stride: Stride
    repeats: int


_STAGES = (
    _Stage(3, 1, 16, 1, 1),
    _Stage(3, 6, 24, 2, 2),
    _Stage(5, 6, 40, 2, 2),
    _Stage(3, 6, 80, 2, 3),
    _Stage(5, 6, 112, 1, 3),
    _Stage(5, 6, 192, 2, 4),
    _Stage(3, 6, 320, 1, 1),
)

SCALES: dict[str, tuple[float, float]] = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
}
"""Factors on widths and on repeats, by name."""


def efficientnet_lite_rows(name: str) -> tuple[ChainBlock, ...]:
    """Returns the stem and all blocks; row i is block i - 1 of the published network.

    Widths become multiples of 8 and repeats are rounded up; stem and the repeats of the first and
    the last stage aren't scaled.
    """
    width, depth = SCALES[name]
    blocks = []
    for index, s in enumerate(_STAGES):
        scaled = 0 < index < len(_STAGES) - 1
        repeats = math.ceil(s.repeats * depth) if scaled else s.repeats
        layers = (ibn(s.expansion, s.kernel),) * repeats
        blocks.append(stage(layers, divisible(s.width * width, 8), s.stride, _STYLE))
    return (stem(STEM, _STYLE), *itertools.chain(*blocks))
