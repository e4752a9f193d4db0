"""YOLO-ReT's neck: published counts, and its function written out with other operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.cost import unit_cost
from nas.errors import GenomeError
from nas.genome import Genome, Shape, Unit
from nas.genome import parts as schema
from nas.genome.network import BatchNorm
from nas.genome.plan import lower
from nas.models import build
from nas.models.necks import build_neck
from nas.models.necks.rfcr import RFCRNeck
from tests.genome.counting import published

SIDES = (10, 20, 40, 20)  # at 320 px: strides 32, 16, 8, and 4 pooled by 4


PART = schema.RFCR(target=1, outputs=(0, 1, 2))


def unit_of(channels: tuple[int, ...], scale: float = 1.0, part: schema.RFCR = PART) -> Unit:
    levels = (5, 4, 3, 4)
    rows = zip(channels, SIDES, levels, strict=True)
    ins = tuple(Shape(c, int(side * scale), level) for c, side, level in rows)
    outs = tuple(Shape(s.channels + part.fuse, *s[1:]) for s in ins[:3])
    return Unit("neck", "neck", part, None, (), ins, outs)


def built(unit: Unit) -> RFCRNeck:
    torch.manual_seed(0)
    neck = build_neck(unit, BatchNorm())
    assert isinstance(neck, RFCRNeck)
    return neck.eval()


def maps_of(unit: Unit, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, shape.channels, shape.size, shape.size) for shape in unit.ins]


@pytest.mark.parametrize(
    ("channels", "side", "params", "macs"),
    [
        # MobileNetV2 ×0.75 and ×1.4, EfficientNet-B3: 48 · sum(C) + 4 + 25 · 48 + 2 · 48
        # + 48 · 96 + 2 · 96 parameters, as prakharg24/yoloret's code gives them.
        ((120, 72, 24, 24), 320, 17_620, 6_585_600),
        ((224, 136, 48, 32), 320, 27_220, 10_310_400),
        ((232, 136, 48, 32), 320, 27_604, 10_348_800),
        ((232, 136, 48, 32), 416, 27_604, 17_489_472),
    ],
)
def test_counts(channels: tuple[int, ...], side: int, params: int, macs: int) -> None:
    unit = unit_of(channels, side / 320)
    assert unit_cost(unit, 0) == (params, macs, 32 * params)
    neck = built(unit)
    assert sum(p.numel() for p in neck.parameters()) == params
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        neck(*maps_of(unit, batch=1))
    assert counter.get_total_flops() // 2 == macs


def test_widths_are_options() -> None:
    """16 and 32, as one of the ports has them."""
    unit = unit_of((120, 72, 24, 24), part=PART.replace(collect=16, fuse=32))
    neck = built(unit)
    assert sum(p.numel() for p in neck.parameters()) == unit_cost(unit, 0).params
    assert [x.shape[1] for x in neck(*maps_of(unit))] == [152, 104, 56]


def test_equal_maps_add_up_to_four_times_one() -> None:
    neck = built(unit_of((48,) * 4))
    for conv in neck.collect:
        assert isinstance(conv, nn.Conv2d) and conv.bias is None
        conv.weight.data.copy_(torch.eye(48)[:, :, None, None])
    assert torch.equal(neck.factors, torch.ones(4))
    small = torch.randn(2, 48, 10, 10)
    middle = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    large = middle.repeat_interleave(2, 2).repeat_interleave(2, 3)
    total = neck.collected((small, middle, large, middle))
    torch.testing.assert_close(total, 4 * middle)


def largest_of_four(x: Tensor) -> Tensor:
    n, c, s, _ = x.shape
    return x.reshape(n, c, s // 2, 2, s // 2, 2).amax(dim=(3, 5))


def repeated(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    """ReLU6 of batch norm in evaluation, written out."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    shifted = (x - norm.running_mean[:, None, None]) * scale[:, None, None]
    return (shifted + norm.bias[:, None, None]).clamp(0, 6)


def test_it_is_the_published_function() -> None:
    unit = unit_of((7, 6, 5, 4), scale=0.4)  # 4, 8, 16, 8 px
    neck = built(unit)
    with torch.no_grad():
        for value in neck.parameters():
            value.normal_(std=0.7)
        for layer in neck.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None:
                layer.running_var.uniform_(20, 40)
        maps = maps_of(unit)
        kernels = [conv.weight[:, :, 0, 0] for conv in neck.collect if isinstance(conv, nn.Conv2d)]
        pairs = zip(kernels, maps, strict=True)
        n1, n2, n3, n4 = (torch.einsum("oc,nchw->nohw", kernel, x) for kernel, x in pairs)
        a = neck.factors
        total = a[0] * repeated(n1) + a[1] * n2 + a[2] * largest_of_four(n3) + a[3] * n4
        (depthwise, first), (pointwise, second) = (
            list(step.children())[:2] for step in neck.filter
        )
        assert isinstance(depthwise, nn.Conv2d) and isinstance(pointwise, nn.Conv2d)
        windows = nn.functional.unfold(total, 5, padding=2).reshape(2, 48, 25, 64)
        filtered = torch.einsum("ck,nckp->ncp", depthwise.weight.flatten(1), windows)
        deep = normed(filtered.reshape(2, 48, 8, 8), first)
        f = normed(torch.einsum("oc,nchw->nohw", pointwise.weight[:, :, 0, 0], deep), second)
        assert 0.1 < ((f > 0) & (f < 6)).float().mean() < 0.9  # at both limits and between
        wanted = [(maps[0], largest_of_four(f)), (maps[1], f), (maps[2], repeated(f))]
        for found, parts in zip(neck(*maps), wanted, strict=True):
            torch.testing.assert_close(found, torch.cat(parts, dim=1), rtol=1e-4, atol=1e-4)


def necked(size: int) -> tuple[Genome, Unit]:
    genome = published("mobilenetv2-0.75-rfcr").scaled(input_size=size)
    return genome, next(unit for unit in lower(genome) if unit.kind == "neck")


@pytest.mark.parametrize(("size", "sides"), [(160, (5, 10, 20)), (96, (3, 6, 12))])
def test_small_and_odd_maps(size: int, sides: tuple[int, ...]) -> None:
    genome, unit = necked(size)
    found = build_neck(unit, genome.norm)(*maps_of(unit))
    channels = (120 + 96, 72 + 96, 24 + 96)
    assert [x.shape[1:] for x in found] == [
        (c, side, side) for c, side in zip(channels, sides, strict=True)
    ]
    assert [tuple(shape[:2]) for shape in unit.outs] == list(zip(channels, sides, strict=True))


@pytest.mark.parametrize("size", [300, 330])
def test_sizes_that_are_no_multiples_are_refused(size: int) -> None:
    with pytest.raises(GenomeError, match=r"map 0 of 1\d px to .* a multiple of 32 px"):
        necked(size)


def test_factors_begin_at_one() -> None:
    _, unit = necked(320)
    genome = published("mobilenetv2-0.75-rfcr")
    neck = build(genome, 4).body[unit.name]
    assert isinstance(neck, RFCRNeck) and torch.equal(neck.factors, torch.ones(4))


def test_an_even_kernel_is_refused() -> None:
    genome = published("mobilenetv2-0.75-rfcr")
    with pytest.raises(GenomeError, match="kernel 4"):
        genome.replace(neck=genome.neck.replace(kernel=4)).validate()


@pytest.mark.parametrize("mode", ["max", "average"])
def test_a_pooled_tap(mode: str) -> None:
    part = schema.Pool(mode=mode, stride=4)  # type: ignore[arg-type]
    unit = Unit("tap0", "tap", part, None, (), (Shape(3, 9, 2),), (Shape(3, 2, 4),))
    x = torch.randn(2, 3, 9, 9)
    cells = x[:, :, :8, :8].reshape(2, 3, 2, 4, 2, 4)
    wanted = cells.amax(dim=(3, 5)) if mode == "max" else cells.mean(dim=(3, 5))
    torch.testing.assert_close(build_neck(unit, BatchNorm())(x), wanted)
    assert unit_cost(unit, 0) == (0, 0, 0)
