"""Mobile bottlenecks against torchvision's classes, and their costs against torch's counters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig
from torchvision.models.mobilenetv2 import InvertedResidual as MobileNetV2Block
from torchvision.models.mobilenetv3 import InvertedResidual as MobileNetV3Block
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.ops import StochasticDepth

from nas.cost.units import unit_cost
from nas.errors import GenomeError
from nas.genome import Shape, Unit
from nas.genome.blocks import Block, Edge
from nas.genome.maps import Map
from nas.genome.network import BatchNorm, Scale
from nas.genome.part import Stride
from nas.genome.parts import FusedInvertedResidual, InvertedResidual, SqueezeExcite, Tucker
from nas.genome.shapes import resolve_block
from nas.genome.units import Port
from nas.genome.widths import compressed
from nas.models.blocks import FusedBlock

NORM = BatchNorm(eps=1e-3, momentum=0.03)
SIZE = 14


def unit_of(op: Any, channels: int, size: int = SIZE, **fields: Any) -> Unit:
    """A unit of one block that reads a map of some channels."""
    level = 3 + {1: 0, 2: 1}[op.stride]
    block = Block(id="x", level=level, op=op, inputs=(Edge(block="p"),), **fields)
    resolved = resolve_block(block, (Map(Shape(channels, size, 3), channels),), Scale(), 320)
    outs = tuple(out.shape for out in resolved.outs)
    return Unit("x", "block", op, block, (Port("p"),), resolved.ins, outs, resolved.width)


def filled(module: nn.Module) -> nn.Module:
    """Weights and statistics away from what they start with."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith(("running_var", "1.weight"))
            tensor.uniform_(0.5, 1.5) if positive else tensor.normal_(std=0.3)
    return module


def assert_same(ours: FusedBlock, theirs: nn.Module, channels: int) -> None:
    """Equal outputs and gradients in training, equal statistics and outputs in evaluation."""
    filled(theirs)
    source = list(theirs.state_dict().values())
    assert len(source) == len(ours.state_dict())
    ours.load_state_dict(dict(zip(ours.state_dict(), source, strict=True)))
    x = torch.randn(2, channels, SIZE, SIZE)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        found, wanted = ours(inputs[0]), theirs(inputs[1])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        for out in (found, wanted):
            (out * out).sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-4)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize(
    ("kernel", "channels", "wide", "out", "stride", "dilation"),
    [
        (3, 16, 16, 16, 1, 1),  # without expansion
        (3, 16, 64, 24, 2, 1),
        (5, 40, 120, 40, 1, 1),
        (3, 80, 184, 80, 1, 1),
        (5, 40, 240, 48, 1, 2),
    ],
)
def test_inverted_residuals_are_mobilenet_v3_s(
    kernel: int, channels: int, wide: int, out: int, stride: Stride, dilation: int,
    attends: bool, hard: bool,
) -> None:  # fmt: skip
    activation = "HS" if hard else "RE"
    config = InvertedResidualConfig(
        channels, kernel, wide, out, attends, activation, stride, dilation, 1.0
    )
    theirs = MobileNetV3Block(config, lambda c: nn.BatchNorm2d(c, eps=1e-3, momentum=0.03))
    op = InvertedResidual(
        width=out,
        expansion=wide / channels,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        squeeze_excite=SqueezeExcite() if attends else None,
        activation="hard_swish" if hard else "relu",
        shortcut=channels == out and stride == 1,
    )
    assert_same(FusedBlock(unit_of(op, channels), NORM, 0.0), theirs, channels)


@pytest.mark.parametrize(("out", "stride", "expansion"), [(32, 1, 6), (48, 2, 6), (16, 1, 1)])
def test_inverted_residuals_are_mobilenet_v2_s(out: int, stride: Stride, expansion: int) -> None:
    theirs = MobileNetV2Block(32, out, stride, expansion, lambda c: nn.BatchNorm2d(c, 1e-3, 0.03))
    op = InvertedResidual(
        width=out, expansion=expansion, stride=stride, shortcut=out == 32 and stride == 1
    )
    assert_same(FusedBlock(unit_of(op, 32), NORM, 0.0), theirs, 32)


@pytest.mark.parametrize(("out", "stride", "kernel"), [(24, 1, 3), (40, 2, 3), (24, 1, 5)])
def test_fused_inverted_residuals_are_efficientnet_v2_s(
    out: int, stride: Stride, kernel: int
) -> None:
    config = FusedMBConvConfig(4, kernel, stride, 24, out, 1)
    theirs = FusedMBConv(config, 0.0, lambda c: nn.BatchNorm2d(c, 1e-3, 0.03))
    op = FusedInvertedResidual(
        width=out, kernel=kernel, stride=stride, activation="swish",
        shortcut=out == 24 and stride == 1,
    )  # fmt: skip
    assert_same(FusedBlock(unit_of(op, 24), NORM, 0.0), theirs, 24)


def test_a_tucker_block_by_hand() -> None:
    """1×1 32 to 8, 3×3 8 to 24 with stride 2, 1×1 24 to 32: the widths of MobileDets' rounding."""
    op = Tucker(width=32, stride=2, shortcut=False)
    block = FusedBlock(unit_of(op, 32), NORM, 0.0).eval()
    filled(block)
    convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [tuple(conv.weight.shape) for conv in convs] == [
        *((8, 32, 1, 1), (24, 8, 3, 3)),
        (32, 24, 1, 1),
    ]
    x = torch.randn(2, 32, SIZE, SIZE)
    y = norms[0](nn.functional.conv2d(x, convs[0].weight)).clamp(0, 6)
    y = norms[1](nn.functional.conv2d(y, convs[1].weight, stride=2, padding=1)).clamp(0, 6)
    torch.testing.assert_close(block(x), norms[2](nn.functional.conv2d(y, convs[2].weight)))


def test_a_tucker_block_adds_its_input() -> None:
    block = FusedBlock(unit_of(Tucker(width=16, input_ratio=0.75), 16), NORM, 0.0).eval()
    x = torch.randn(1, 16, SIZE, SIZE)
    last = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
    nn.init.zeros_(last.weight)
    assert torch.equal(block(x), x)


def test_channels_inside_are_the_published_ones() -> None:
    """Counted from torchvision, TensorFlow's MobileDets and SpineNet-Mobile."""
    mobilenet = SqueezeExcite()
    wide = {72: 24, 120: 32, 240: 64, 480: 120, 672: 168, 960: 240, 184: 48}
    assert {w: mobilenet.squeezed(40, w) for w in wide} == wide
    spinenet = SqueezeExcite(ratio=0.2, of="input", divisor=1)
    reads = {8: 1, 16: 3, 24: 4, 40: 8, 80: 16, 112: 22, 4: 1}
    assert {c: spinenet.squeezed(c, 6 * c) for c in reads} == reads
    ratios = {(96, 0.75): 72, (160, 0.625): 104, (48, 0.75): 40, (48, 1.25): 64, (24, 0.25): 8}
    assert {pair: compressed(*pair) for pair in ratios} == ratios
    assert compressed(40, 0.25) == 8  # 10: no tenth may be lost in other rounding rules


def test_the_expanded_map_is_given_when_asked_for() -> None:
    op = InvertedResidual(width=24, expansion=3.0, stride=2, shortcut=False)
    unit = unit_of(op, 16, repeats=2)
    torch.manual_seed(0)
    both = FusedBlock(unit, NORM, 0.0, gives_expanded=True).eval()
    torch.manual_seed(0)
    alone = FusedBlock(unit, NORM, 0.0).eval()
    x = torch.randn(2, 16, SIZE, SIZE)
    out, wide = both(x)
    assert torch.equal(out, alone(x))
    assert (tuple(out.shape), tuple(wide.shape)) == ((2, 24, 7, 7), (2, 48, SIZE, SIZE))
    layers = list(both.copies[0].children())
    assert torch.equal(wide, layers[0](x))


def test_branches_are_dropped_by_picture() -> None:
    op = InvertedResidual(width=16, expansion=2.0)
    for one in (op, FusedInvertedResidual(width=16), Tucker(width=16)):
        block = FusedBlock(unit_of(one, 16), NORM, 0.9).train()
        assert [m.p for m in block.modules() if isinstance(m, StochasticDepth)] == [0.9]
        x = torch.randn(64, 16, 4, 4)
        kept = (block(x) == x).flatten(1).all(dim=1)
        assert 40 < int(kept.sum()) < 64


# --- costs ------------------------------------------------------------------------------------

OPERATIONS = [
    InvertedResidual(width=24, expansion=0.5, stride=2, shortcut=False, project_activation="relu6"),
    InvertedResidual(width=24, expansion=1.0, kernel=5, squeeze_excite=SqueezeExcite()),
    InvertedResidual(
        width=20, kernel=5, dilation=2, shortcut=False,
        squeeze_excite=SqueezeExcite(ratio=0.2, of="input", divisor=1),
    ),
    FusedInvertedResidual(width=24, expansion=8.0, squeeze_excite=SqueezeExcite()),
    FusedInvertedResidual(width=40, kernel=5, stride=2, shortcut=False),
    Tucker(width=24),
    Tucker(width=40, input_ratio=0.75, kernel=5, stride=2, shortcut=False),
]  # fmt: skip


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.type)
def test_costs_are_torch_s(op: Any, repeats: int) -> None:
    unit = unit_of(op, 24, size=15, repeats=repeats)
    with torch.device("meta"):
        block = FusedBlock(unit, NORM, 0.0).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            out = block(torch.empty(1, 24, 15, 15))
    assert tuple(out.shape[1:]) == (unit.outs[0].channels, unit.outs[0].size, unit.outs[0].size)
    cost = unit_cost(unit, 91)
    assert cost.params == sum(p.numel() for p in block.parameters())
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.bits == 32 * cost.params


def test_copies_that_shrink_the_map_are_refused() -> None:
    op = InvertedResidual(width=24, kernel=4, shortcut=False)
    assert unit_of(op, 24).outs[0].size == SIZE - 1
    with pytest.raises(GenomeError, match=r"every copy of this inverted_residual.*odd kernel"):
        unit_of(op, 24, repeats=2)


def test_a_concatenation_is_not_counted_as_a_sum() -> None:
    """1×1 expansion from 16 or from 32 channels to six times as many."""
    unit = unit_of(InvertedResidual(width=24, shortcut=False), 16)
    assert unit.block is not None
    counts = []
    for combine in ("sum", "concat"):
        two = unit._replace(ins=unit.ins * 2, block=unit.block.replace(combine=combine))
        counts.append(unit_cost(two, 91).params)
    by_hand = [c * 6 * c + 2 * 6 * c + 9 * 6 * c + 2 * 6 * c + 24 * 6 * c + 48 for c in (16, 32)]
    assert counts == by_hand
