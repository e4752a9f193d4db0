"""Parameters and multiply-adds of the published detectors' units, counted apart from `nas.cost`.

The published totals check every width, kernel and size of a hand-written JSON at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nas.genome import Genome, Unit, plan
from nas.genome.parts import (
    RFCR,
    AlphaResample,
    Bottleneck,
    Conv,
    Endpoints,
    FusedInvertedResidual,
    InvertedResidual,
    L2Norm,
    Residual,
    RetinaNetHead,
    SeparableResample,
    SqueezeExcite,
    SSDHead,
    Tucker,
)

PUBLISHED = Path(__file__).parent / "published"


class Layer(NamedTuple):
    """One convolution (or scale): weights, bias, channels of the norm after it, outputs."""

    weights: int
    bias: int = 0
    normed: int = 0
    places: int = 0

    @property
    def macs(self) -> int:
        return self.weights * self.places

    def params(self, per_norm: int = 2) -> int:
        """Keras counts four parameters per normed channel, moving statistics included."""
        return self.weights + self.bias + per_norm * self.normed


def published(name: str) -> Genome:
    """The genome of a hand-written JSON."""
    return Genome.from_file(PUBLISHED / f"{name}.json")


def document(name: str) -> dict[str, object]:
    """The same as plain data, to change and read again."""
    found: dict[str, object] = json.loads((PUBLISHED / f"{name}.json").read_text())
    return found


def by_name(genome: Genome) -> dict[str, Unit]:
    """Units by block id, or by their own name from the taps on."""
    units = plan(genome)
    return {unit.block.id if unit.block else unit.name: unit for unit in units if _node(unit)}


def _node(unit: Unit) -> bool:
    return unit.kind != "edge"


def layers(unit: Unit, num_classes: int = 21) -> Iterator[Layer]:
    """The layers of one unit, all copies of a repeated block."""
    if unit.kind == "block":
        assert unit.block is not None
        if unit.block.combine == "weighted_sum":
            yield Layer(len(unit.ins))  # one learnt factor per input
        for copy in _copies(unit):
            yield from _of_copy(unit, copy)
    elif isinstance(unit.part, AlphaResample):
        yield from _alpha(unit)
    elif isinstance(unit.part, SeparableResample):
        yield from _separable(unit)
    elif isinstance(unit.part, Endpoints):
        source, out = unit.ins[0], unit.outs[0].channels
        yield Layer(source.channels * out, 0, out, source.size**2)
    elif isinstance(unit.part, L2Norm):
        yield Layer(unit.ins[0].channels)
    elif isinstance(unit.part, RFCR):
        yield from _rfcr(unit, unit.part)
    elif isinstance(unit.part, SSDHead):
        yield from _ssd(unit, unit.part, num_classes)
    elif isinstance(unit.part, RetinaNetHead):
        yield from _retinanet(unit, unit.part, num_classes)


class Copy(NamedTuple):
    """One copy of a block: channels and size that it reads, channels and size that it gives."""

    reads: int
    size: int
    gives: int
    out: int
    stride: int


def _copies(unit: Unit) -> Iterator[Copy]:
    assert unit.block is not None
    channels = [shape.channels for shape in unit.ins]
    reads = sum(channels) if unit.block.combine == "concat" else channels[0]
    size, (gives, out, _) = unit.ins[0].size, unit.outs[0]
    for copy in range(unit.block.repeats):
        yield Copy(reads, size, gives, out, unit.block.op.window.stride if copy == 0 else 1)
        reads, size = gives, out


def _of_copy(unit: Unit, copy: Copy) -> Iterator[Layer]:
    op, places = unit.part, copy.out**2
    if isinstance(op, Conv):
        weights = copy.reads * copy.gives * op.kernel**2
        yield Layer(weights, copy.gives * op.bias, copy.gives * op.norm, places)
        if op.shortcut == "average_pool":
            yield Layer(copy.reads * copy.gives, 0, copy.gives, places)
    elif isinstance(op, Bottleneck):
        narrow = copy.gives // 4
        yield Layer(copy.reads * narrow, 0, narrow, copy.size**2)
        yield Layer(9 * narrow * narrow, 0, narrow, places)
        yield Layer(narrow * copy.gives, 0, copy.gives, places)
        yield from _projection(copy)
    elif isinstance(op, Residual):
        yield Layer(9 * copy.reads * copy.gives, 0, copy.gives, places)
        yield Layer(9 * copy.gives * copy.gives, 0, copy.gives, places)
        yield from _projection(copy)
    elif isinstance(op, InvertedResidual):
        wide = max(1, round(copy.reads * op.expansion))
        if op.expansion != 1:
            yield Layer(copy.reads * wide, 0, wide, copy.size**2)
        yield Layer(wide * op.kernel**2, 0, wide, places)
        yield from _attention(copy.reads, wide, op.squeeze_excite)
        yield Layer(wide * copy.gives, 0, copy.gives, places)
    elif isinstance(op, FusedInvertedResidual):
        wide = max(1, round(copy.reads * op.expansion))
        yield Layer(copy.reads * wide * op.kernel**2, 0, wide, places)
        yield from _attention(copy.reads, wide, op.squeeze_excite)
        yield Layer(wide * copy.gives, 0, copy.gives, places)
    elif isinstance(op, Tucker):
        yield from _tucker(copy, op)


def _projection(copy: Copy) -> Iterator[Layer]:
    """ResNet's shortcut, where the shape changes or there is a stride."""
    if copy.reads != copy.gives or copy.stride != 1:
        yield Layer(copy.reads * copy.gives, 0, copy.gives, copy.out**2)


def _attention(reads: int, wide: int, attention: SqueezeExcite | None) -> Iterator[Layer]:
    if attention is None:
        return
    exact = int((reads if attention.of == "input" else wide) * attention.ratio)
    if attention.divisor == 1:
        narrow = max(1, exact)
    else:  # torchvision's make_divisible
        step = attention.divisor
        narrow = max(step, int(exact + step / 2) // step * step)
        narrow += step if narrow < 0.9 * exact else 0
    yield Layer(wide * narrow, narrow, 0, 1)
    yield Layer(narrow * wide, wide, 0, 1)


def _tucker(copy: Copy, op: Tucker) -> Iterator[Layer]:
    """tensorflow/models, ssd_mobiledet_feature_extractor.py: ranks are multiples of 8."""
    first = max(8, 8 * int(copy.reads * op.input_ratio / 8 + 0.5))
    second = max(8, 8 * int(copy.gives * op.output_ratio / 8 + 0.5))
    yield Layer(copy.reads * first, 0, first, copy.size**2)
    yield Layer(first * second * op.kernel**2, 0, second, copy.out**2)
    yield Layer(second * copy.gives, 0, copy.gives, copy.out**2)


def _alpha(unit: Unit) -> Iterator[Layer]:
    """tensorflow/tpu, spinenet.py: the last 1×1 counts at the reader's size, as published."""
    (reads, size, level), (gives, out, below) = unit.ins[0], unit.outs[0]
    yield Layer(reads * unit.middle, 0, unit.middle, size**2)
    if below > level:
        yield Layer(9 * unit.middle**2, 0, unit.middle, math.ceil(size / 2) ** 2)
    yield Layer(unit.middle * gives, 0, gives, out**2)


def _separable(unit: Unit) -> Iterator[Layer]:
    (reads, size, level), (gives, out, below) = unit.ins[0], unit.outs[0]
    for _ in range(below - level):
        size = math.ceil(size / 2)
        yield Layer(9 * reads, 0, reads, size**2)
    yield Layer(reads * gives, 0, gives, out**2)


def _retinanet(unit: Unit, head: RetinaNetHead, num_classes: int) -> Iterator[Layer]:
    """Towers shared over the maps; the batch norms are each map's own."""
    places = sum(shape.size**2 for shape in unit.ins)
    for values in (4, num_classes):
        channels = unit.ins[0].channels
        widths = [head.width] * head.depth + [head.anchors[0].count * values]
        for index, width in enumerate(widths):
            kernel = 9 * channels + channels * width if head.separable else 9 * channels * width
            normed = width * len(unit.ins) if index < head.depth else 0
            yield Layer(kernel, width, normed, places)
            channels = width


def _rfcr(unit: Unit, neck: RFCR) -> Iterator[Layer]:
    target = unit.ins[neck.target].size ** 2
    for source in unit.ins:
        yield Layer(source.channels * neck.collect, 0, 0, source.size**2)
    yield Layer(len(unit.ins))  # one learnt factor per tap
    yield Layer(neck.collect * neck.kernel**2, 0, neck.collect, target)
    yield Layer(neck.collect * neck.fuse, 0, neck.fuse, target)


def _ssd(unit: Unit, head: SSDHead, num_classes: int) -> Iterator[Layer]:
    for shape, anchors in zip(unit.ins, head.anchors, strict=True):
        for values in (head.box_values, num_classes):
            outputs, places = anchors.count * values, shape.size**2
            if head.separable:
                yield Layer(shape.channels * head.kernel**2, 0, shape.channels, places)
                yield Layer(shape.channels * outputs, outputs, 0, places)
            else:
                yield Layer(shape.channels * outputs * head.kernel**2, outputs, 0, places)
