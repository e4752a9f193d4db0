"""Pooling as TensorFlow pads it, initial weights, and SpineNet's resampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit, plan
from nas.genome.network import BatchNorm
from nas.models.edges import build_edge
from nas.models.layers import initialize, max_pool_same
from search_spaces.spinenet.listing import (
    PermutedBlock,
    SpineNetDeploySettings,
    genome_from_listing,
)


def row(values: list[float]) -> Tensor:
    """One row, the same in every line of a square."""
    return torch.tensor(values).repeat(len(values), 1)[None, None]


@pytest.mark.parametrize(
    ("values", "kernel", "stride", "expected"),
    [
        # Even size: windows 012, 23(pad) – the padding stands at the end alone.
        ([9.0, 1, 2, 3], 3, 2, [9, 3]),
        # Odd size: (pad)01, 123, 34(pad).
        ([9.0, 1, 2, 3, 4], 3, 2, [9, 3, 4]),
        # Negative values: padding isn't zero.
        ([-5.0, -6, -7, -8], 3, 2, [-5, -7]),
        # Kernel 5, stride 4 on 8: 4·1 + 5 − 8 = 1 of padding, at the end.
        ([8.0, 7, 6, 5, 4, 3, 2, 1], 5, 4, [8, 4]),
        # Kernel 5, stride 2 on 6: 3 of padding, 1 before and 2 after.
        ([1.0, 2, 3, 4, 5, 6], 5, 2, [4, 6, 6]),
        # Stride 1 keeps the size.
        ([3.0, 1, 1, 2], 3, 1, [3, 3, 2, 2]),
    ],
)
def test_max_pool_same_by_hand(
    values: list[float], kernel: int, stride: int, expected: list[float]
) -> None:
    assert max_pool_same(row(values), kernel, stride)[0, 0, 0].tolist() == expected


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_max_pool_same_by_its_definition(kernel: int, stride: int) -> None:
    """TensorFlow: ceil(S / stride) outputs, padding total // 2 before and the rest after."""
    for size in range(1, 18):
        x = torch.randn(1, 2, size, size) - 5
        out = math.ceil(size / stride)
        total = max((out - 1) * stride + kernel - size, 0)
        before = total // 2
        padded = F.pad(x, (before, total - before) * 2, value=-math.inf)
        windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
        expected = windows.amax(dim=(-1, -2))[:, :, :out, :out]
        assert torch.equal(max_pool_same(x, kernel, stride), expected)


def test_initial_weights_have_variance_one_over_fan_in() -> None:
    """TensorFlow's variance scaling: scale 1, fan-in, truncated normal."""
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 512, 3, bias=True)
    initialize(conv)
    assert conv.bias is not None
    std = math.sqrt(1 / (64 * 9))
    assert conv.weight.std().item() == pytest.approx(std, rel=0.01)
    assert conv.weight.mean().item() == pytest.approx(0, abs=std / 100)
    assert conv.weight.abs().max().item() <= 2 * std / 0.8796 * 1.0001
    assert not conv.bias.any()


# --- resampling -------------------------------------------------------------------------------


def edge_unit(source: int, target: int, size: int = 256) -> Unit:
    """The edge from a bottleneck of level `source` to a residual block of level `target`."""
    rows = [PermutedBlock(source, "bottleneck", (0, 1)), PermutedBlock(target, "residual", (0, 2))]
    rows += [PermutedBlock(level, "bottleneck", (2, 3), output=True) for level in (3, 4, 5, 6, 7)]
    units = plan(genome_from_listing(rows, SpineNetDeploySettings(width=0.25, input_size=size)))
    blocks = {unit.name: unit.block.id for unit in units if unit.kind == "block" and unit.block}
    return next(
        unit
        for unit in units
        if unit.kind == "edge"
        and unit.block is not None
        and (blocks[unit.inputs[0].unit], unit.block.id) == ("2", "3")
    )


def resampled_as_published(edge: Any, x: Tensor, unit: Unit) -> Tensor:
    """1×1, then one strided 3×3 and one pool, or nearest, and the last 1×1 at the end."""
    size, target = unit.ins[0].size, unit.outs[0].size
    x = edge.reduce(x)
    if target < size:
        ratio = size // target
        x = edge.down(x)
        if ratio > 2:
            x = max_pool_same(x, 3 if ratio <= 4 else 5, ratio // 2)
    else:
        x = x.repeat_interleave(target // size, 2).repeat_interleave(target // size, 3)
    out: Tensor = edge.expand(x)
    return out


@pytest.mark.parametrize("levels", [(2, 2), (2, 3), (2, 4), (2, 5), (2, 7), (3, 2), (5, 3), (7, 2)])
@pytest.mark.parametrize("training", [False, True])
def test_edges_equal_the_published_order(levels: tuple[int, int], training: bool) -> None:
    unit = edge_unit(*levels)
    assert (unit.ins[0].level, unit.outs[0].level) == levels
    torch.manual_seed(1)
    edge = build_edge(unit, BatchNorm()).train(training)
    size = unit.ins[0].size
    x = torch.randn(2, unit.ins[0].channels, size, size)
    found = edge(x)
    assert found.shape == (2, unit.outs[0].channels, unit.outs[0].size, unit.outs[0].size)
    torch.testing.assert_close(found, resampled_as_published(edge, x, unit), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [(2, 7), (3, 6), (5, 7), (7, 5), (6, 3)])
def test_edges_reach_the_reader_s_size_where_sizes_do_not_divide(levels: tuple[int, int]) -> None:
    """224 px: 56, 28, 14, 7, 4 and 2 pixels on levels 2 to 7."""
    unit = edge_unit(*levels, size=224)
    sides = {2: 56, 3: 28, 4: 14, 5: 7, 6: 4, 7: 2}
    side = sides[levels[0]]
    assert unit.ins[0].size == side
    out = build_edge(unit, BatchNorm())(torch.randn(2, unit.ins[0].channels, side, side))
    assert out.shape[-2:] == (sides[levels[1]],) * 2
