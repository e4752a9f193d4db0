"""SpineNet-Mobile's own parts; tests/models/test_reference.py holds the whole to its authors'."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from nas.cost import unit_cost
from nas.genome import Shape, Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import SeparableResample
from nas.models.edges import build_edge
from nas.models.edges.separable import Separable
from nas.models.heads.retinanet import SeparableConv
from search_spaces import zoo
from tests.models.tiny import built, pictures


def edge(source: Shape, target: Shape) -> tuple[Unit, Separable]:
    unit = Unit("e", "edge", SeparableResample(), None, (), (source,), (target,), target.channels)
    torch.manual_seed(0)
    found = build_edge(unit, BatchNorm())
    assert isinstance(found, Separable)
    return unit, found.eval()


def test_down_is_one_depthwise_step_per_octave() -> None:
    """By hand: 3 of (9 · 6 + 2 · 6) parameters on 16, 8 and 4 px, then 6 · 10 + 2 · 10."""
    unit, down = edge(Shape(6, 32, 2), Shape(10, 4, 5))
    assert unit_cost(unit, 0)[:2] == (3 * 66 + 80, 54 * (256 + 64 + 16) + 60 * 16)
    assert sum(p.numel() for p in down.parameters()) == 278
    for layers, kinds in (
        (down.down[0], (nn.Conv2d, nn.BatchNorm2d, nn.SiLU)),
        (down.project, (nn.Conv2d, nn.BatchNorm2d)),
    ):
        for layer, kind in zip(layers.children(), kinds, strict=True):
            assert isinstance(layer, kind)
    assert down(torch.randn(2, 6, 32, 32)).shape == (2, 10, 4, 4)


@pytest.mark.parametrize(("small", "large"), [(5, 20), (5, 5), (3, 5)])
def test_up_is_nearest_before_the_convolution(small: int, large: int) -> None:
    unit, up = edge(Shape(6, small, 7), Shape(10, large, 7 - math.ceil(math.log2(large / small))))
    x = torch.randn(2, 6, small, small)
    wanted = up.project(nn.functional.interpolate(x, size=(large, large), mode="nearest"))
    torch.testing.assert_close(up(x), wanted)
    assert unit_cost(unit, 0)[:2] == (80, 60 * large**2)


@pytest.mark.parametrize("size", [137, 192, 224, 256])
def test_any_size_from_128_px_on_works(size: int) -> None:
    genome = zoo.genome("spinenet-mobile-49xs").scaled(width=0.5, head_width=8, input_size=size)
    model = built(genome).train()
    sides = [-(-size // 2**level) for level in range(3, 8)]
    maps = model.features(torch.randn(2, 3, size, size))
    assert [x.shape for x in maps] == [(2, 8, side, side) for side in sides]
    boxes, labels = torch.tensor([[[20.0, 20, 70, 80]]] * 2), torch.tensor([[1]] * 2)
    sum(model.losses(pictures(2, size), boxes, labels).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_separable_head_s_first_weights() -> None:
    """Glorot's bounds, √(6 / (fan in + fan out)), as TensorFlow counts fans; bias −log(99)."""
    head = built(zoo.genome("spinenet-mobile-49")).head
    for tower in (head.class_tower, head.box_tower):
        for conv in (*tower.convs, tower.predict):
            assert isinstance(conv, SeparableConv) and conv.bias is not None
            assert conv.depthwise.bias is None
            for weight, fans in (
                (conv.depthwise.weight, 9 * 48 + 9),
                (conv.weight, 48 + conv.out_channels),
            ):
                bound = math.sqrt(6 / fans)
                assert 0.9 * bound < weight.abs().max() <= bound
            wanted = -math.log(99) if conv is head.class_tower.predict else 0.0
            torch.testing.assert_close(conv.bias, torch.full_like(conv.bias, wanted))


def test_stochastic_depth_rises_to_the_sixteenth_block() -> None:
    model = built(zoo.genome("spinenet-mobile-49xs"), drop_path=0.2)
    rates = sorted({layer.p for layer in model.modules() if isinstance(layer, StochasticDepth)})
    assert rates == pytest.approx([0.2 * i / 16 for i in range(1, 17)])
