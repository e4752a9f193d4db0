"""The kernels that train faster, against torch's own layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas.genome.network import BatchNorm
from nas.genome.part import Activation
from nas.models.fast_cpu import fused_expansion as fusing
from nas.models.fast_cpu.convolutions import (
    DepthwiseConv2d,
    DepthwiseSameConv2d,
    PointwiseConv2d,
    accelerate_convolutions,
    depthwise_gradients,
    is_plain,
)
from nas.models.fast_cpu.convolutions import depthwise as filtered
from nas.models.fast_cpu.fused_expansion import can_fuse, fused_expansion
from nas.models.fast_cpu.sparse_predictions import predicted_at
from nas.models.layers import ConvNorm, SameConv2d

NORM = BatchNorm(eps=1e-3, momentum=0.03)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def channels_last(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last)


def gradients(out: Tensor, *leaves: Tensor) -> list[Tensor]:
    outer = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return list(torch.autograd.grad(out, leaves, outer))


def depthwise(channels: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, channels, bias=False)
    accelerate_convolutions(conv)
    assert type(conv) is DepthwiseConv2d
    return conv


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (9, 1), (5, 2), (4, 1)])
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 8), (3, 4)])
def test_depthwise_gradients_are_torch_s(
    stride: int, kernel: int, dilation: int, size: tuple[int, int]
) -> None:
    ours = depthwise(6, kernel, stride, dilation).double().train()
    x = channels_last(2, 6, *size).requires_grad_()
    assert is_plain(x)
    out = ours(x)
    expected = nn.functional.conv2d(
        x, ours.weight, None, stride, dilation * (kernel - 1) // 2, dilation, 6
    )
    assert torch.equal(out, expected)
    for mine, wanted in zip(
        gradients(out, x, ours.weight), gradients(expected, x, ours.weight), strict=True
    ):
        torch.testing.assert_close(mine, wanted)


def depthwise_same(channels: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    conv = SameConv2d(channels, channels, kernel, stride, 0, dilation, channels, bias=False)
    accelerate_convolutions(conv)
    assert type(conv) is DepthwiseSameConv2d
    return conv


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (5, 2), (4, 1)])
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 8), (3, 4)])
def test_depthwise_gradients_padded_as_tensorflow_are_torch_s(
    stride: int, kernel: int, dilation: int, size: tuple[int, int]
) -> None:
    """The plain layer pads the map, which torch's own gradient goes through."""
    ours = depthwise_same(6, kernel, stride, dilation).double().train()
    plain = SameConv2d(6, 6, kernel, stride, 0, dilation, 6, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    x = channels_last(2, 6, *size).requires_grad_()
    windows = ours.windows(x)  # type: ignore[operator]
    for out in (ours(x), filtered(x, ours.weight, windows)):
        expected = plain(x)
        torch.testing.assert_close(out, expected)
        for mine, wanted in zip(
            gradients(out, x, ours.weight), gradients(expected, x, plain.weight), strict=True
        ):
            torch.testing.assert_close(mine, wanted)
    expected = plain(x)
    outer = torch.randn_like(expected)
    direct = depthwise_gradients(outer, x.detach(), ours.weight.detach(), windows)
    by_torch = torch.autograd.grad(expected, (x, plain.weight), outer)
    for mine, wanted in zip(direct, by_torch, strict=True):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_products_are_convolutions(bias: bool) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = nn.Conv2d(5, 7, 1, bias=bias).double().train()
        ours.__class__ = PointwiseConv2d
        x = channels_last(3, 5, 6, 4).requires_grad_()
        out, expected = ours(x), nn.functional.conv2d(x, ours.weight, ours.bias)
        torch.testing.assert_close(out, expected)
        assert out.is_contiguous(memory_format=torch.channels_last)
        leaves = (x, *ours.parameters())
        for mine, wanted in zip(gradients(out, *leaves), gradients(expected, *leaves), strict=True):
            torch.testing.assert_close(mine, wanted)
    finally:
        torch.set_num_threads(threads)


# --- the fused expansion ----------------------------------------------------------------------


def pair(act: Activation, kernel: int, stride: int, dilation: int) -> tuple[ConvNorm, nn.Conv2d]:
    """An expansion from 4 to 12 channels, and the filters behind it."""
    expand = ConvNorm(4, 12, 1, NORM, act).double()
    accelerate_convolutions(expand)
    norm = expand[1]
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.normal_()
    return expand, depthwise(12, kernel, stride, dilation).double()


@pytest.mark.parametrize("act", ["relu", "relu6", "swish", "hard_swish"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2)]
)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("pictures", [1, 2, 9])
def test_the_fused_expansion_is_the_separate_layers(
    act: Activation,
    kernel: int,
    stride: int,
    dilation: int,
    keep: bool,
    same: bool,
    pictures: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs, all gradients and the running statistics, in several parts or in one."""
    monkeypatch.setattr(fusing, "CHUNK_BYTES", pictures * 12 * 7 * 6 * 8)
    expand, filters = pair(act, kernel, stride, dilation)
    if same:
        filters = depthwise_same(12, kernel, stride, dilation).double()
    other = copy.deepcopy(expand)
    x = (channels_last(5, 4, 7, 6) + 2).requires_grad_()
    assert can_fuse(x, expand, filters)
    out, wide = fused_expansion(x, expand, filters, keep)
    expected_wide = other(x)
    expected = filters(expected_wide)
    torch.testing.assert_close(out, expected)
    weights = [p for layer in (expand, filters) for p in layer.parameters()]
    others = [p for layer in (other, filters) for p in layer.parameters()]
    if keep:
        torch.testing.assert_close(wide, expected_wide)
        out = torch.cat([out.flatten(), wide.flatten()])
        expected = torch.cat([expected.flatten(), expected_wide.flatten()])
    for mine, wanted in zip(
        gradients(out, x, *weights), gradients(expected, x, *others), strict=True
    ):
        torch.testing.assert_close(mine, wanted)
    for buffer, wanted in zip(expand.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(buffer, wanted)


def test_fused_without_a_momentum_it_keeps_the_plain_mean() -> None:
    """As batch-norm statistics are measured anew after a training."""
    expand, filters = pair("relu", 3, 1, 1)
    other = copy.deepcopy(expand)
    for layers in (expand, other):
        norm = layers[1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for _ in range(3):
            x = channels_last(2, 4, 5, 5)
            fused_expansion(x, expand, filters, keep=False)
            other(x)
    for buffer, wanted in zip(expand.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(buffer, wanted)


def test_statistics_of_inputs_far_from_zero_are_precise() -> None:
    """float32, means a hundred deviations away: as close to float64 as torch's own layers."""
    expand, filters = pair("relu", 3, 1, 1)
    x = channels_last(4, 4, 16, 16) + 100
    wanted = filters(expand(x))
    single = (expand.float(), filters.float())
    mine, _ = fused_expansion(x.float(), *single, keep=False)
    theirs = single[1](single[0](x.float()))
    error, usual = ((y.double() - wanted).abs().max() for y in (mine, theirs))
    assert error <= 2 * usual + 1e-5


def test_where_the_separate_layers_stay() -> None:
    expand, filters = pair("relu", 3, 1, 1)
    x = channels_last(2, 4, 6, 6)
    assert can_fuse(x, expand, filters)
    assert not can_fuse(x.contiguous(), expand, filters)
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_fuse(x, expand, filters)
    others = ConvNorm(4, 6, 1, NORM, "relu"), ConvNorm(4, 12, 1, NORM)
    for other in others:  # wider by half only; without an activation
        accelerate_convolutions(other)
        assert not can_fuse(x, other, filters)
    assert not can_fuse(x, nn.Identity(), filters)
    assert not can_fuse(x, ConvNorm(4, 12, 1, NORM, "relu"), filters)
    assert not can_fuse(x, expand, nn.Conv2d(12, 12, 3, padding=1, groups=12))
    assert not can_fuse(x, expand.eval(), filters)


# --- predictions of a few anchors -------------------------------------------------------------


def test_selected_predictions_are_those_of_the_whole_map() -> None:
    outputs = [nn.Conv2d(4, 3 * 5, 1), nn.Conv2d(6, 2 * 5, 1), nn.Conv2d(3, 2 * 5, 1)]
    hidden = [torch.randn(2, c, s, s, requires_grad=True) for c, s in ((4, 4), (6, 2), (3, 1))]
    whole = torch.cat(
        [
            out(x).permute(0, 2, 3, 1).reshape(2, -1, 5)
            for out, x in zip(outputs, hidden, strict=True)
        ],
        dim=1,
    )
    assert whole.shape[1] == 48 + 8 + 2
    images, places = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([50, 0, 47, 3, 0])
    found = predicted_at(outputs, hidden, images, places, 5)
    torch.testing.assert_close(found, whole[images, places])
    leaves = [*hidden, *(p for out in outputs for p in out.parameters())]
    for mine, wanted in zip(
        gradients(found, *leaves), gradients(whole[images, places], *leaves), strict=True
    ):
        torch.testing.assert_close(mine, wanted)
    none = torch.zeros(0, dtype=torch.int64)
    assert predicted_at(outputs, hidden, none, none, 5).shape == (0, 5)
