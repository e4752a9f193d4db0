"""From units to operators: what a runtime does for each part of a genome, as `nas.models` has it.

Batch norm has no operator, for every runtime folds it into the convolution before it. What follows
the raw outputs, decoding of boxes and non-maximum suppression, has none either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.cost.operators import Tape, Value
from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.blocks import IMAGE, AlphaResample, Block, SeparableResample
from nas.genome.buildable import check_buildable
from nas.genome.heads import RetinaNetHead, SSDHead
from nas.genome.necks import RFCR, Endpoints, L2Norm, Pool
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
from nas.genome.part import Activation, Part
from nas.genome.shapes import compressed, expanded, padding_of, squeezed
from nas.genome.units import deployed

Values = tuple[Value, ...]
Record = Callable[[Tape, Unit, Sequence[Value], int], Values]
"""Records a unit that reads these values; the number of classes is for heads."""


def record(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    """Records a unit's operators.

    Args:
        tape: what they are added to.
        unit: from ``lower`` or ``plan``.
        reads: a value for each of its inputs.
        num_classes: background counts; only a head reads it.

    Returns:
        A value for each of its outputs; of a head the logits and the box codes of all anchors.

    Raises:
        GenomeError: for a part whose operators aren't known.
    """
    for kind, how in _RECORDERS.items():
        if isinstance(unit.part, kind):
            if unit.kind == "block":
                reads = [_fused(tape, unit, reads)]
            return how(tape, unit, reads, num_classes)
    raise _unknown(f"a part of type {getattr(unit.part, 'type', type(unit.part).__name__)!r}")


def record_plan(tape: Tape, units: Sequence[Unit], num_classes: int) -> Values:
    """Records a whole plan, from the picture to the raw outputs; returns logits and box codes."""
    first = units[0].ins[0]
    known: dict[tuple[str, int], Value] = {(IMAGE, 0): picture(tape, first.size)}
    gives: Values = ()
    for unit in deployed(units):
        gives = record(tape, unit, [known[port] for port in unit.inputs], num_classes)
        known.update({(unit.name, i): value for i, value in enumerate(gives)})
    for value in gives:
        tape.output(value)
    return gives


def picture(tape: Tape, size: int) -> Value:
    """Records the picture of this side, normalised."""
    return tape.normalize(tape.input(3, size))


def _unknown(what: str) -> GenomeError:
    return GenomeError(
        f"{what} can't be taken apart into operators, so no measured table gives its time; a table "
        "written by hand does (version 1)"
    )


def _fused(tape: Tape, unit: Unit, reads: Sequence[Value]) -> Value:
    """A block's inputs as one."""
    block = unit.block
    assert block is not None
    if block.combine == "concat":
        return tape.activate(tape.concat(reads), block.fuse_activation)
    if block.combine == "weighted_sum":
        reads = [tape.weigh(value) for value in reads]
    return tape.activate(tape.add(reads), block.fuse_activation)


def _repeats(unit: Unit) -> int:
    block: Block | None = unit.block
    return 1 if block is None else block.repeats


def _conv(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, Conv)
    check_buildable(unit)
    padding = padding_of(op)
    for copy in range(_repeats(unit)):
        stride = op.stride if copy == 0 else 1
        x = tape.conv(
            x, unit.width, op.kernel, stride, op.activation, padding=padding, dilation=op.dilation
        )
    return (x,)


def _max_pool(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,), size = unit.part, reads, unit.outs[0].size
    assert isinstance(op, MaxPool)
    for _ in range(_repeats(unit)):
        padding = None if op.padding == "same" else op.padding
        x = _pooled(tape, x, op.kernel, op.stride, size, padding)
    return (x,)


def _pooled(
    tape: Tape, x: Value, kernel: int, stride: int, size: int, padding: int | None = None
) -> Value:
    """Max pooling to a size; None pads as TensorFlow does."""
    total = max((size - 1) * stride + kernel - x.size, 0)
    before = total // 2 if padding is None else padding
    return tape.max_pool(x, kernel, stride, size, (before, max(total - before, 0)))


def _bottleneck(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,), width = unit.part, reads, unit.width
    assert isinstance(op, Bottleneck)
    for copy in range(_repeats(unit)):
        stride = op.stride if copy == 0 else 1
        y = tape.conv(x, width, activation=op.activation)
        y = tape.conv(y, width, 3, stride, op.activation)
        x = _shortcut(tape, x, tape.conv(y, 4 * width), stride, op.activation)
    return (x,)


def _residual(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,), width = unit.part, reads, unit.width
    assert isinstance(op, Residual)
    for copy in range(_repeats(unit)):
        stride = op.stride if copy == 0 else 1
        y = tape.conv(x, width, 3, stride, op.activation)
        x = _shortcut(tape, x, tape.conv(y, width, 3), stride, op.activation)
    return (x,)


def _shortcut(tape: Tape, x: Value, y: Value, stride: int, activation: Activation) -> Value:
    """ResNet's sum: the input is projected where channels change, or there is a stride."""
    if x.channels != y.channels or stride != 1:
        x = tape.conv(x, y.channels, 1, stride)
    return tape.activate(tape.add([y, x]), activation)


def _inverted_residual(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, InvertedResidual)
    expanded_maps = []
    for copy in range(_repeats(unit)):
        stride, act = op.stride if copy == 0 else 1, op.activation
        wide = x
        if op.expansion != 1:
            wide = tape.conv(x, expanded(x.channels, op.expansion), activation=act)
        expanded_maps.append(wide)
        y = tape.depthwise(wide, op.kernel, stride, act, op.dilation)
        y = _attended(tape, y, op.squeeze_excite, x.channels)
        y = tape.conv(y, unit.width, activation=op.project_activation)
        x = tape.add([x, y]) if op.shortcut else y
    return x, expanded_maps[0]


def _fused_inverted(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, FusedInvertedResidual)
    for copy in range(_repeats(unit)):
        stride, wide = op.stride if copy == 0 else 1, expanded(x.channels, op.expansion)
        y = tape.conv(x, wide, op.kernel, stride, op.activation)
        y = _attended(tape, y, op.squeeze_excite, x.channels)
        y = tape.conv(y, unit.width)
        x = tape.add([x, y]) if op.shortcut else y
    return (x,)


def _attended(tape: Tape, x: Value, op: SqueezeExcite | None, channels: int) -> Value:
    if op is None:
        return x
    y = tape.conv(tape.mean(x), squeezed(op, channels, x.channels), activation=op.activation)
    return tape.gate(x, tape.conv(y, x.channels, activation=op.gate))


def _tucker(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, Tucker)
    for copy in range(_repeats(unit)):
        stride = op.stride if copy == 0 else 1
        y = tape.conv(x, compressed(x.channels, op.input_ratio), activation=op.activation)
        second = compressed(unit.width, op.output_ratio)
        y = tape.conv(y, second, op.kernel, stride, op.activation)
        y = tape.conv(y, unit.width)
        x = tape.add([x, y]) if op.shortcut else y
    return (x,)


def _alpha(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,), out = unit.part, reads, unit.outs[0]
    assert isinstance(op, AlphaResample)
    x = tape.conv(x, unit.middle, activation=op.activation)
    if out.level > unit.ins[0].level:
        x = _pooled_down(tape, op, tape.conv(x, unit.middle, 3, 2, op.activation), unit)
    return (_projected(tape, x, unit),)


def _separable(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, SeparableResample)
    for _ in range(unit.outs[0].level - unit.ins[0].level):
        x = tape.depthwise(x, 3, 2, op.activation)
    return (_projected(tape, x, unit),)


def _projected(tape: Tape, x: Value, unit: Unit) -> Value:
    """1×1 and nearest neighbours up, on as few pixels as the sizes allow."""
    out = unit.outs[0]
    if out.size % x.size:
        x = tape.resize(x, out.size)
    return tape.resize(tape.conv(x, out.channels), out.size)


def _pooled_down(tape: Tape, op: AlphaResample, x: Value, unit: Unit) -> Value:
    """The one max-pool of a way down by more than 2, as the published code sizes it."""
    size, target = unit.ins[0].size, unit.outs[0].size
    if size // target <= 2:
        return x
    stride = size // target // 2 if size % target == 0 else 2
    kernel = 3 if size / target <= 4 else 5
    same = op.pool_padding == "same"
    pooled = -(-x.size // stride) if same else (x.size + 2 * (kernel // 2) - kernel) // stride + 1
    return _pooled(tape, x, kernel, stride, pooled, None if same else kernel // 2)


def _endpoint(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op = unit.part
    assert isinstance(op, Endpoints)
    return (tape.conv(reads[0], unit.outs[0].channels, activation=op.activation),)


def _pool(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op, (x,) = unit.part, reads
    assert isinstance(op, Pool)
    if op.mode == "average":
        return (tape.average_pool(x, op.stride),)
    return (tape.max_pool(x, op.stride, op.stride, unit.outs[0].size, (0, 0)),)


def _l2_norm(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    return (tape.unit_norm(reads[0]),)


def _rfcr(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op = unit.part
    assert isinstance(op, RFCR)
    size = reads[op.target].size
    collected = [
        tape.weigh(_resampled(tape, tape.conv(value, op.collect), size)) for value in reads
    ]
    fused = tape.depthwise(tape.add(collected), op.kernel, 1, op.activation)
    fused = tape.conv(fused, op.fuse, activation=op.activation)
    back = (tape.concat([reads[i], _resampled(tape, fused, reads[i].size)]) for i in op.outputs)
    return tuple(back)


def _resampled(tape: Tape, x: Value, size: int) -> Value:
    """Nearest neighbours up, max pooling down."""
    if x.size <= size:
        return tape.resize(x, size)
    stride = x.size // size  # whole: the genome refuses other sizes
    return tape.max_pool(x, stride, stride, size, (0, 0))


def _retinanet(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op = unit.part
    assert isinstance(op, RetinaNetHead)

    def convolved(x: Value, channels: int, activation: Activation = "none") -> Value:
        if not op.separable:
            return tape.conv(x, channels, 3, activation=activation)
        return tape.conv(tape.depthwise(x, 3, 1, "none"), channels, activation=activation)

    def predicted(x: Value, outputs: int) -> Value:
        for _ in range(op.depth):
            x = convolved(x, op.width, op.activation)
        return convolved(x, outputs)

    counts = [anchors.count for anchors in op.anchors]
    return _by_anchor(tape, reads, counts, num_classes, predicted)


def _ssd(tape: Tape, unit: Unit, reads: Sequence[Value], num_classes: int) -> Values:
    op = unit.part
    assert isinstance(op, SSDHead)

    def predicted(x: Value, outputs: int) -> Value:
        if not op.separable:
            return tape.conv(x, outputs, op.kernel)
        return tape.conv(tape.depthwise(x, op.kernel, 1, op.activation), outputs)

    counts = [anchors.count for anchors in op.anchors]
    return _by_anchor(tape, reads, counts, num_classes, predicted, op.box_values)


def _by_anchor(
    tape: Tape,
    reads: Sequence[Value],
    counts: Sequence[int],
    num_classes: int,
    predicted: Callable[[Value, int], Value],
    box_values: int = 4,
) -> Values:
    """Class and box predictions of every level, each in one row."""
    rows: list[list[Value]] = [[], []]
    for x, count in zip(reads, counts, strict=True):
        for row, ends in zip(rows, (num_classes, box_values), strict=True):
            row.append(tape.flatten(predicted(x, count * ends), ends))
    return tape.join(rows[0]), tape.join(rows[1])


_RECORDERS: dict[type[Part], Record] = {
    AlphaResample: _alpha,
    Bottleneck: _bottleneck,
    Conv: _conv,
    Endpoints: _endpoint,
    FusedInvertedResidual: _fused_inverted,
    InvertedResidual: _inverted_residual,
    L2Norm: _l2_norm,
    MaxPool: _max_pool,
    Pool: _pool,
    Residual: _residual,
    RetinaNetHead: _retinanet,
    RFCR: _rfcr,
    SeparableResample: _separable,
    SSDHead: _ssd,
    Tucker: _tucker,
}
