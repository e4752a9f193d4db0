"""Expansion, batch norm, activation and depthwise convolution as one step of training.

The expanded map is by far the largest of a mobile block.  Here it isn't kept for the gradient, and
batch norm makes no pass over it, since its statistics follow from those of the narrow input: for
y = W x the mean is W·mean(x), and the variance of channel c is w_c·Cov(x)·w_c.  So batch norm
becomes part of the 1×1 convolution.  A few pictures at a time are widened, activated and filtered
while they are in the processor's cache; the gradient does the same again.

With d the gradient behind batch norm, n pixels, x̂ the centred input, σ the deviation, s = γ/σ:

    P  = dᵀ x̂
    dβ = Σ d                dγ = Σ_j P_j W_j / σ
    dW = s (P − dγ/σ W Cov(x))
    dx = d (s W) − x̂ (Wᵀ diag(s dγ / (σ n)) W) − (s dβ / n) W
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.models.convolutions import Depthwise, gradients, is_plain
from nas.models.layers import ConvNorm

CHUNK_BYTES = 8_000_000
"""Of the expanded map at a time: a few of the processor's second-level caches."""
LEAST_WIDENING = 2
"""Below it the input's covariance costs more than it saves."""

aten = torch.ops.aten


class _Activation(NamedTuple):
    """An activation by hand.

    Attributes:
        forward: of z; may work in place.
        backward: from the gradient behind it, z and its output to the gradient before it.
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


_ACTIVATIONS: dict[type[nn.Module], _Activation] = {
    nn.ReLU: _Activation(
        torch.relu_, lambda g, z, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g)
    ),
    nn.ReLU6: _Activation(
        lambda z: F.hardtanh_(z, 0.0, 6.0),
        lambda g, z, y: aten.hardtanh_backward.grad_input(g, y, 0.0, 6.0, grad_input=g),
    ),
    nn.Hardswish: _Activation(F.hardswish, lambda g, z, y: aten.hardswish_backward(g, z)),
    nn.SiLU: _Activation(F.silu, lambda g, z, y: aten.silu_backward(g, z)),
}


def can_widen(x: Tensor, expand: nn.Module) -> bool:
    """Whether ``widen`` may stand for the separate layers: in training, in plain numbers."""
    if not (isinstance(expand, ConvNorm) and expand.training and is_plain(x)):
        return False
    conv, norm = expand[0], expand[1]
    assert isinstance(conv, nn.Conv2d)
    enough = conv.out_channels >= LEAST_WIDENING * conv.in_channels
    # Statistics over several processes, or of earlier batches alone, aren't used here.
    of_this_batch = type(norm) is nn.BatchNorm2d and norm.training
    return enough and of_this_batch and type(expand[-1]) in _ACTIVATIONS


def widen(x: Tensor, expand: nn.Module, depthwise: nn.Module, keep: bool) -> tuple[Tensor, Tensor]:
    """Runs ``depthwise(expand(x))`` and updates the batch norm's statistics.

    Args:
        x: ``(N, C, S, S)``; ``can_widen`` holds.
        expand: 1×1 convolution, batch norm, activation.
        depthwise: what alone reads the expanded map, unless it is kept.
        keep: give the expanded map too.

    Returns:
        ``(N, C_wide, S', S')``, and the expanded map ``(N, C_wide, S, S)`` or an empty tensor.
    """
    assert isinstance(expand, ConvNorm) and isinstance(depthwise, Depthwise)
    conv, norm, act = expand
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    how = _How(_ACTIVATIONS[type(act)], norm.eps, depthwise.stride[0], depthwise.dilation[0], keep)
    out, wide, mean, variance = _Widen.apply(
        x, conv.weight, norm.weight, norm.bias, depthwise.weight, how
    )
    _remember(norm, mean, variance)
    return out, wide


class _How(NamedTuple):
    activation: _Activation
    eps: float
    stride: int
    dilation: int
    keep: bool


class _Widen(torch.autograd.Function):
    """What this module's text describes; gives the batch's mean and variance too."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        filters: Tensor,
        how: _How,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows, kernels = _rows(x), weight.flatten(1)
        count, average = len(rows), rows.mean(dim=0)
        # A column of ones carries β forwards and gives Σ d backwards.
        centred = rows.new_empty(count, rows.shape[1] + 1)
        torch.sub(rows, average, out=centred[:, :-1])
        centred[:, -1] = 1
        spread = kernels @ (centred[:, :-1].t() @ centred[:, :-1]).div_(count)
        variance = (spread * kernels).sum(dim=1)
        inverse = (variance + how.eps).rsqrt()
        folded = torch.cat([kernels * (gamma * inverse)[:, None], beta[:, None]], dim=1)
        padding = how.dilation * (filters.shape[-1] - 1) // 2
        outs, wides = [], []
        for part, _ in _parts(x, len(kernels)):
            _, y = _activated(centred[part], folded, how)
            wide = _map(y, x)
            outs.append(
                F.conv2d(wide, filters, None, how.stride, padding, how.dilation, len(filters))
            )
            if how.keep:
                wides.append(wide)
        out, wide = _joined(outs), _joined(wides) if wides else x.new_empty(0)
        mean, unbiased = kernels @ average, variance * (count / (count - 1))
        ctx.save_for_backward(x, centred, kernels, spread, inverse, gamma, folded, filters)
        ctx.how = how
        ctx.mark_non_differentiable(mean, unbiased)
        return out, wide, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        x, centred, kernels, spread, inverse, gamma, folded, filters = ctx.saved_tensors
        how, (of_out, of_wide) = ctx.how, outer[:2]
        scaled, scale = folded[:, :-1], gamma * inverse
        projected = torch.zeros_like(folded)  # P, and Σ d as its last column
        of_filters = torch.zeros_like(filters)
        of_rows = centred.new_empty(len(centred), x.shape[1])
        for part, pictures in _parts(x, len(kernels)):
            z, y = _activated(centred[part], folded, how)
            behind, part_of_filters = gradients(
                of_out[pictures], _map(y, x), filters, how.stride, how.dilation
            )
            of_filters += part_of_filters
            if how.keep:
                behind += of_wide[pictures]
            d = how.activation.backward(_rows(behind), z, y)
            projected.addmm_(d.t(), centred[part])
            torch.mm(d, scaled, out=of_rows[part])
        of_beta, projected = projected[:, -1], projected[:, :-1]
        of_gamma = inverse * (projected * kernels).sum(dim=1)
        of_kernels = scale[:, None] * (projected - (of_gamma * inverse)[:, None] * spread)
        through = scale * of_gamma * inverse / len(centred)
        mixing = torch.cat(
            [
                (kernels * through[:, None]).t() @ kernels,
                (scale * of_beta / len(centred) @ kernels)[None],
            ]
        )
        of_x = _map(of_rows.addmm_(centred, mixing, alpha=-1), x)
        return of_x, of_kernels[:, :, None, None], of_gamma, of_beta, of_filters, None


def _activated(rows: Tensor, folded: Tensor, how: _How) -> tuple[Tensor, Tensor]:
    """What the expansion gives before and behind the activation; one tensor if that is in place."""
    z = rows @ folded.t()
    return z, how.activation.forward(z)


def _parts(x: Tensor, wide: int) -> Iterator[tuple[slice, slice]]:
    """Rows and pictures of each part of the batch whose expanded map fits into the cache."""
    count, _, height, width = x.shape
    bytes_each = x.element_size() * wide * height * width
    step = max(1, CHUNK_BYTES // bytes_each)
    for first in range(0, count, step):
        last = min(first + step, count)
        yield slice(first * height * width, last * height * width), slice(first, last)


def _rows(x: Tensor) -> Tensor:
    """``(N, C, S, S)`` in channels-last memory as ``(N · S · S, C)``."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _map(rows: Tensor, x: Tensor) -> Tensor:
    """Rows as a map of the size of ``x``, in channels-last memory."""
    return rows.view(-1, *x.shape[2:], rows.shape[1]).permute(0, 3, 1, 2)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else torch.cat(list(maps))


@torch.no_grad()
def _remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Updates running statistics as batch norm itself does in training."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    # Without a momentum torch keeps the plain mean over all batches.
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
