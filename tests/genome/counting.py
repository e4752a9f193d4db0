"""Parameters and multiply-adds of the published detectors' units, counted apart from `nas.cost`.

The published totals check every width, kernel and size of a hand-written JSON at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nas.genome import Genome, Unit, plan
from nas.genome.parts import (
    RFCR,
    Conv,
    FusedInvertedResidual,
    InvertedResidual,
    L2Norm,
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
    """The layers of one unit."""
    if isinstance(unit.part, Conv):
        yield from _conv(unit, unit.part)
    elif isinstance(unit.part, InvertedResidual):
        yield from _inverted_residual(unit, unit.part)
    elif isinstance(unit.part, FusedInvertedResidual):
        yield from _fused(unit, unit.part)
    elif isinstance(unit.part, Tucker):
        yield from _tucker(unit, unit.part)
    elif isinstance(unit.part, L2Norm):
        yield Layer(unit.ins[0].channels)
    elif isinstance(unit.part, RFCR):
        yield from _rfcr(unit, unit.part)
    elif isinstance(unit.part, SSDHead):
        yield from _ssd(unit, unit.part, num_classes)


def _conv(unit: Unit, op: Conv) -> Iterator[Layer]:
    source, out = unit.ins[0], unit.outs[0]
    channels = out.channels
    weights = source.channels * channels * op.kernel**2
    yield Layer(weights, channels * op.bias, channels * op.norm, out.size**2)
    if op.shortcut == "average_pool":
        yield Layer(source.channels * channels, 0, channels, out.size**2)


def _inverted_residual(unit: Unit, op: InvertedResidual) -> Iterator[Layer]:
    source, out, wide = unit.ins[0], unit.outs[0], unit.outs[1].channels
    if op.expansion != 1:
        yield Layer(source.channels * wide, 0, wide, source.size**2)
    yield Layer(wide * op.kernel**2, 0, wide, out.size**2)
    yield from _attention(wide, op.squeeze_excite)
    yield Layer(wide * out.channels, 0, out.channels, out.size**2)


def _attention(wide: int, attention: SqueezeExcite | None) -> Iterator[Layer]:
    if attention is not None:
        # torchvision: make_divisible(expanded // 4, 8)
        narrow = max(8, int(wide // 4 + 4) // 8 * 8)
        narrow += 8 if narrow < 0.9 * (wide // 4) else 0
        yield Layer(wide * narrow, narrow, 0, 1)
        yield Layer(narrow * wide, wide, 0, 1)


def _fused(unit: Unit, op: FusedInvertedResidual) -> Iterator[Layer]:
    source, out = unit.ins[0].channels, unit.outs[0]
    wide = int(source * op.expansion)
    yield Layer(source * wide * op.kernel**2, 0, wide, out.size**2)
    yield from _attention(wide, op.squeeze_excite)
    yield Layer(wide * out.channels, 0, out.channels, out.size**2)


def _tucker(unit: Unit, op: Tucker) -> Iterator[Layer]:
    """tensorflow/models, ssd_mobiledet_feature_extractor.py: ranks are multiples of 8."""
    source, out = unit.ins[0], unit.outs[0]
    first = max(8, 8 * int(source.channels * op.input_ratio / 8 + 0.5))
    second = max(8, 8 * int(out.channels * op.output_ratio / 8 + 0.5))
    yield Layer(source.channels * first, 0, first, source.size**2)
    yield Layer(first * second * op.kernel**2, 0, second, out.size**2)
    yield Layer(second * out.channels, 0, out.channels, out.size**2)


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
