"""Parameters and multiply-adds of one unit, counted from its shapes alone.

Conventions of the published tables: parameters are the trainable ones (batch norm's moving
statistics don't count), a multiply-add is one operation, and only convolutions have any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.blocks import AlphaResample, SeparableResample
from nas.genome.buildable import check_buildable
from nas.genome.heads import RetinaNetHead, SSDHead
from nas.genome.necks import RFCR, Endpoints, Pool
from nas.genome.operations import (
    Bottleneck,
    Conv,
    FusedInvertedResidual,
    InvertedResidual,
    MaxPool,
    Residual,
    SqueezeExcite,
    Tucker,
)
from nas.genome.part import Part
from nas.genome.shapes import compressed, expanded, squeezed
from nas.genome.units import fused_channels


class Cost(NamedTuple):
    """Trainable parameters, multiply-adds for one picture, bits stored for the parameters."""

    params: int = 0
    macs: int = 0
    bits: int = 0

    def plus(self, other: Cost) -> Cost:
        """The sum."""
        return Cost(self.params + other.params, self.macs + other.macs, self.bits + other.bits)


def unit_cost(unit: Unit, num_classes: int) -> Cost:
    """Cost of a unit; equal units are counted once and remembered.

    Args:
        unit: from ``plan`` or ``lower``.
        num_classes: background counts; only a head reads it.

    Raises:
        GenomeError: for a part that no module is built for yet.
    """
    classes = num_classes if unit.kind == "head" else 0
    repeats = unit.block.repeats if unit.block is not None and unit.kind == "block" else 1
    combine = unit.block.combine if unit.block is not None else ""
    shapes = (unit.ins, unit.outs, unit.width, unit.middle)
    key = (unit.part.signature, *shapes, combine, repeats, classes)
    known = _known.get(key)
    if known is None:
        if len(_known) >= 100_000:
            _known.clear()
        known = _known[key] = _count(unit, repeats, classes)
    return known


_known: dict[tuple[object, ...], Cost] = {}


def _count(unit: Unit, repeats: int, num_classes: int) -> Cost:
    check_buildable(unit)
    part = unit.part
    for kind, count in _COUNTERS.items():
        if isinstance(part, kind):
            return count(unit, repeats, num_classes).plus(_factors(unit))
    raise GenomeError(
        f"no cost for a part of type {getattr(part, 'type', type(part).__name__)!r}; "
        f"legal: {', '.join(sorted(kind.__name__ for kind in _COUNTERS))}"
    )


def _factors(unit: Unit) -> Cost:
    """One learnt factor for each input of a weighted sum."""
    if unit.kind != "block" or unit.block is None or unit.block.combine != "weighted_sum":
        return Cost()
    return Cost(params=len(unit.ins), bits=32 * len(unit.ins))


def conv(
    channels_in: int,
    channels: int,
    kernel: int,
    size: int,
    *,
    norm: bool = True,
    bias: bool = False,
) -> Cost:
    """A convolution with ``size``² outputs a channel, and the batch norm after it."""
    weights = channels_in * channels * kernel**2
    params = weights + (2 * channels if norm else 0) + (channels if bias else 0)
    return Cost(params, weights * size**2, 32 * params)


def depthwise(channels: int, kernel: int, size: int) -> Cost:
    """One filter a channel with ``size``² outputs, and the batch norm after it."""
    params = channels * kernel**2 + 2 * channels
    return Cost(params, channels * kernel**2 * size**2, 32 * params)


def _total(*costs: Cost) -> Cost:
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    return total


def _conv(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op = unit.part
    assert isinstance(op, Conv)
    channels_in, size = fused_channels(unit), unit.outs[0].size
    first = conv(channels_in, unit.width, op.kernel, size, norm=op.norm, bias=op.bias)
    later = conv(unit.width, unit.width, op.kernel, size, norm=op.norm, bias=op.bias)
    return _total(first, *[later] * (repeats - 1))


def _pool(unit: Unit, repeats: int, num_classes: int) -> Cost:
    return Cost()


def _bottleneck(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op, source, out, width = unit.part, unit.ins[0], unit.outs[0], unit.width
    assert isinstance(op, Bottleneck)
    copies = []
    for copy in range(repeats):
        channels = fused_channels(unit) if copy == 0 else out.channels
        size = source.size if copy == 0 else out.size
        copies.append(conv(channels, width, 1, size))
        copies.append(conv(width, width, 3, out.size))
        copies.append(conv(width, out.channels, 1, out.size))
        if copy == 0 and (channels != out.channels or op.stride != 1):
            copies.append(conv(channels, out.channels, 1, out.size))
    return _total(*copies)


def _residual(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op, out = unit.part, unit.outs[0]
    assert isinstance(op, Residual)
    copies = []
    for copy in range(repeats):
        channels = fused_channels(unit) if copy == 0 else out.channels
        copies.append(conv(channels, out.channels, 3, out.size))
        copies.append(conv(out.channels, out.channels, 3, out.size))
        if copy == 0 and (channels != out.channels or op.stride != 1):
            copies.append(conv(channels, out.channels, 1, out.size))
    return _total(*copies)


def _inverted_residual(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op, out = unit.part, unit.outs[0]
    assert isinstance(op, InvertedResidual)
    channels, size = fused_channels(unit), unit.ins[0].size
    copies = []
    for _ in range(repeats):
        wide = expanded(channels, op.expansion)
        if op.expansion != 1:
            copies.append(conv(channels, wide, 1, size))
        copies.append(depthwise(wide, op.kernel, out.size))
        copies.append(_squeeze_excite(op.squeeze_excite, channels, wide))
        copies.append(conv(wide, out.channels, 1, out.size))
        channels, size = out.channels, out.size
    return _total(*copies)


def _fused_inverted_residual(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op, out = unit.part, unit.outs[0]
    assert isinstance(op, FusedInvertedResidual)
    channels = fused_channels(unit)
    copies = []
    for _ in range(repeats):
        wide = expanded(channels, op.expansion)
        copies.append(conv(channels, wide, op.kernel, out.size))
        copies.append(_squeeze_excite(op.squeeze_excite, channels, wide))
        copies.append(conv(wide, out.channels, 1, out.size))
        channels = out.channels
    return _total(*copies)


def _squeeze_excite(op: SqueezeExcite | None, channels: int, wide: int) -> Cost:
    """Two 1×1 with bias on a single pixel."""
    if op is None:
        return Cost()
    narrow = squeezed(op, channels, wide)
    reduce = conv(wide, narrow, 1, 1, norm=False, bias=True)
    return reduce.plus(conv(narrow, wide, 1, 1, norm=False, bias=True))


def _tucker(unit: Unit, repeats: int, num_classes: int) -> Cost:
    op, out = unit.part, unit.outs[0]
    assert isinstance(op, Tucker)
    channels, size = fused_channels(unit), unit.ins[0].size
    copies = []
    for _ in range(repeats):
        first = compressed(channels, op.input_ratio)
        second = compressed(out.channels, op.output_ratio)
        copies.append(conv(channels, first, 1, size))
        copies.append(conv(first, second, op.kernel, out.size))
        copies.append(conv(second, out.channels, 1, out.size))
        channels, size = out.channels, out.size
    return _total(*copies)


def _alpha(unit: Unit, repeats: int, num_classes: int) -> Cost:
    source, out, middle = unit.ins[0], unit.outs[0], unit.middle
    reduce = conv(source.channels, middle, 1, source.size)
    expand = conv(middle, out.channels, 1, out.size)  # as published: at the reader's size
    if out.level <= source.level:
        return _total(reduce, expand)
    return _total(reduce, conv(middle, middle, 3, -(-source.size // 2)), expand)


def _separable(unit: Unit, repeats: int, num_classes: int) -> Cost:
    source, out = unit.ins[0], unit.outs[0]
    steps, size = [], source.size
    for _ in range(out.level - source.level):
        size = -(-size // 2)
        steps.append(depthwise(source.channels, 3, size))
    return _total(*steps, conv(source.channels, out.channels, 1, out.size))  # as published


def _endpoint(unit: Unit, repeats: int, num_classes: int) -> Cost:
    source, out = unit.ins[0], unit.outs[0]
    return conv(source.channels, out.channels, 1, source.size)


def _rfcr(unit: Unit, repeats: int, num_classes: int) -> Cost:
    neck = unit.part
    assert isinstance(neck, RFCR)
    size = unit.ins[neck.target].size
    factors = Cost(params=len(unit.ins), bits=32 * len(unit.ins))
    collected = [conv(s.channels, neck.collect, 1, s.size, norm=False) for s in unit.ins]
    fused = depthwise(neck.collect, neck.kernel, size), conv(neck.collect, neck.fuse, 1, size)
    return _total(factors, *collected, *fused)


def _retinanet(unit: Unit, repeats: int, num_classes: int) -> Cost:
    head = unit.part
    assert isinstance(head, RetinaNetHead)
    shared = _shared_separable if head.separable else _shared
    places = sum(shape.size**2 for shape in unit.ins)
    anchors = head.anchors[0].count
    total = Cost()
    for outputs in (anchors * num_classes, anchors * 4):
        channels = unit.ins[0].channels
        for _ in range(head.depth):
            total = total.plus(shared(channels, head.width, places, norms=len(unit.ins)))
            channels = head.width
        total = total.plus(shared(channels, outputs, places, norms=0))
    return total


def _shared(channels_in: int, channels: int, places: int, norms: int) -> Cost:
    """A 3×3 with bias over all levels' ``places``, and one batch norm per level."""
    weights = 9 * channels_in * channels
    params = weights + channels + 2 * channels * norms
    return Cost(params, weights * places, 32 * params)


def _shared_separable(channels_in: int, channels: int, places: int, norms: int) -> Cost:
    """A depthwise 3×3 and a 1×1 with bias over all levels' ``places``, and the batch norms."""
    weights = 9 * channels_in + channels_in * channels
    params = weights + channels + 2 * channels * norms
    return Cost(params, weights * places, 32 * params)


def _ssd(unit: Unit, repeats: int, num_classes: int) -> Cost:
    head = unit.part
    assert isinstance(head, SSDHead)
    total = Cost()
    for shape, anchors in zip(unit.ins, head.anchors, strict=True):
        channels, size = shape.channels, shape.size
        for outputs in (anchors.count * num_classes, anchors.count * head.box_values):
            kernel = 1 if head.separable else head.kernel
            if head.separable:
                total = total.plus(depthwise(channels, head.kernel, size))
            total = total.plus(conv(channels, outputs, kernel, size, norm=False, bias=True))
    return total


_COUNTERS: dict[type[Part], Callable[[Unit, int, int], Cost]] = {
    AlphaResample: _alpha,
    Bottleneck: _bottleneck,
    Conv: _conv,
    Endpoints: _endpoint,
    FusedInvertedResidual: _fused_inverted_residual,
    InvertedResidual: _inverted_residual,
    MaxPool: _pool,
    Pool: _pool,
    Residual: _residual,
    RetinaNetHead: _retinanet,
    RFCR: _rfcr,
    SeparableResample: _separable,
    SSDHead: _ssd,
    Tucker: _tucker,
}
