"""Expansion, batch norm, activation and depthwise convolution as one step of training.

The expanded map is by far the largest of a mobile block. Here it isn't kept for the gradient, and
batch norm makes no pass over it, since its statistics follow from those of the narrow input: for
y = W x the mean is W·mean(x), and the variance of channel c is w_c·Cov(x)·w_c. So batch norm
becomes part of the 1×1 convolution. A few images at a time are expanded, activated and filtered
while they are in the processor's cache; the gradient does the same again.

With d the gradient behind batch norm, n pixels, x̂ the centred input, σ the deviation, s = γ/σ:

    P  = dᵀ x̂
    dβ = Σ d                dγ = Σ_j P_j W_j / σ
    dW = s (P − dγ/σ W Cov(x))
    dx = d (s W) − x̂ (Wᵀ diag(s dγ / (σ n)) W) − (s dβ / n) W
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.models.activations import Elementwise, rule_of
from nas.models.blocks.inverted_residual import InvertedResidualBlock
from nas.models.fast_cpu.convolutions import (
    DepthwiseConv2d,
    DepthwiseSameConv2d,
    PointwiseConv2d,
    Windows,
    depthwise,
    depthwise_gradients,
    is_plain,
)
from nas.models.layers import ConvNorm

CHUNK_BYTES = 8_000_000
"""Of the expanded map at a time: a few of the processor's second-level caches."""
LEAST_EXPANSION = 2
"""Below it the input's covariance costs more than it saves."""


class FusedInvertedResidualBlock(InvertedResidualBlock):
    """An inverted residual whose expansion and depthwise convolution are one step in training."""

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S / stride, S / stride)` from `(N, C_in, S, S)`."""
        return self._fused(x, keep=False)[0] if self._can_fuse(x) else super().forward(x)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output, and the expanded map `(N, C_wide, S, S)`."""
        return self._fused(x, keep=True) if self._can_fuse(x) else super().both(x)

    def _can_fuse(self, x: Tensor) -> bool:
        return can_fuse(x, self.expand, self.depthwise[0])

    def _fused(self, x: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        """Does what the plain block's `both` does; without `keep` the expanded map is empty."""
        filters, *rest = self.depthwise
        out, wide = fused_expansion(x, self.expand, filters, keep)
        for layer in rest:
            out = layer(out)
        out = self.project(self.attend(out))
        return (x + self.dropped(out) if self.shortcut else out), wide


_FILTERS = (DepthwiseConv2d, DepthwiseSameConv2d)


def can_fuse(x: Tensor, expand: nn.Module, filters: nn.Module) -> bool:
    """Whether `fused_expansion` may stand for the layers: in training, in plain numbers."""
    if not (isinstance(expand, ConvNorm) and expand.training and is_plain(x)):
        return False
    conv, norm = expand[0], expand[1]
    if type(conv) is not PointwiseConv2d or type(filters) not in _FILTERS:
        return False
    enough = conv.out_channels >= LEAST_EXPANSION * conv.in_channels
    # Statistics over several processes, or of earlier batches alone, aren't used here.
    of_this_batch = type(norm) is nn.BatchNorm2d and norm.training
    rule = rule_of(expand[-1])
    return enough and of_this_batch and rule is not None and rule.by_hand is not None


def fused_expansion(
    x: Tensor, expand: nn.Module, filters: nn.Module, keep: bool
) -> tuple[Tensor, Tensor]:
    """Runs `filters(expand(x))` and updates the batch norm's statistics.

    Args:
        x: `(N, C, S, S)`; `can_fuse` holds.
        expand: 1×1 convolution, batch norm, activation.
        filters: what alone reads the expanded map, unless it is kept.
        keep: give the expanded map too.

    Returns:
        `(N, C_wide, S', S')`, and the expanded map `(N, C_wide, S, S)` or an empty tensor.
    """
    assert isinstance(expand, ConvNorm) and isinstance(filters, _FILTERS)
    conv, norm, act = expand
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    rule = rule_of(act)
    assert rule is not None and rule.by_hand is not None
    how = _How(rule.by_hand, norm.eps, filters.windows(x), keep)
    out, wide, mean, variance = _FusedExpansion.apply(
        x, conv.weight, norm.weight, norm.bias, filters.weight, how
    )
    _update_statistics(norm, mean, variance)
    return out, wide


class _How(NamedTuple):
    """Everything of a fused expansion that isn't a tensor."""

    activation: Elementwise
    eps: float
    windows: Windows
    keep: bool


class _FusedExpansion(torch.autograd.Function):
    """The step that this file begins with; gives the batch's mean and variance too."""

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
        # The centred input x̂; a column of ones carries β forwards and gives Σ d backwards.
        centred = rows.new_empty(count, rows.shape[1] + 1)
        torch.sub(rows, average, out=centred[:, :-1])
        centred[:, -1] = 1
        # W Cov(x), of which each channel's variance is the product with its row of W.
        spread = kernels @ (centred[:, :-1].t() @ centred[:, :-1]).div_(count)
        variance = (spread * kernels).sum(dim=1)
        inverse = (variance + how.eps).rsqrt()
        # Batch norm as part of the 1×1: its kernels s W, and β for the column of ones.
        folded = torch.cat([kernels * (gamma * inverse)[:, None], beta[:, None]], dim=1)
        outs, wides = [], []
        for part, _ in _parts(x, len(kernels)):
            _, y = _activated(centred[part], folded, how)
            wide = _map(y, x)
            outs.append(depthwise(wide, filters, how.windows))
            if how.keep:
                wides.append(wide)
        out, wide = _joined(outs), _joined(wides) if wides else x.new_empty(0)
        mean, unbiased = kernels @ average, variance * (count / (count - 1))
        ctx.save_for_backward(x, centred, kernels, spread, inverse, gamma, folded, filters)
        ctx.how = how
        ctx.mark_non_differentiable(mean, unbiased)
        return out, wide, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, centred, kernels, spread, inverse, gamma, folded, filters = ctx.saved_tensors
        how, (grad_out, grad_wide) = ctx.how, grad_outputs[:2]
        scaled, scale = folded[:, :-1], gamma * inverse
        projected = torch.zeros_like(folded)  # P, and Σ d as its last column
        grad_filters = torch.zeros_like(filters)
        grad_rows = centred.new_empty(len(centred), x.shape[1])
        for part, images in _parts(x, len(kernels)):
            # The part is expanded again rather than kept.
            z, y = _activated(centred[part], folded, how)
            behind, grad_part = depthwise_gradients(
                grad_out[images], _map(y, x), filters, how.windows
            )
            grad_filters += grad_part
            if how.keep:
                behind += grad_wide[images]
            d = how.activation.backward(_rows(behind), z, y)
            projected.addmm_(d.t(), centred[part])
            torch.mm(d, scaled, out=grad_rows[part])
        grad_beta, projected = projected[:, -1], projected[:, :-1]
        grad_gamma = inverse * (projected * kernels).sum(dim=1)
        grad_kernels = scale[:, None] * (projected - (grad_gamma * inverse)[:, None] * spread)
        # dx: d (s W) is in `grad_rows`; what batch norm's mean and variance let through is less.
        through = scale * grad_gamma * inverse / len(centred)
        mixing = torch.cat(
            [
                (kernels * through[:, None]).t() @ kernels,
                (scale * grad_beta / len(centred) @ kernels)[None],
            ]
        )
        grad_x = _map(grad_rows.addmm_(centred, mixing, alpha=-1), x)
        return grad_x, grad_kernels[:, :, None, None], grad_gamma, grad_beta, grad_filters, None


def _activated(rows: Tensor, folded: Tensor, how: _How) -> tuple[Tensor, Tensor]:
    """Expands rows: before and behind the activation; one tensor where that is in place."""
    z = rows @ folded.t()
    return z, how.activation.forward(z)


def _parts(x: Tensor, wide: int) -> Iterator[tuple[slice, slice]]:
    """Yields rows and images of parts of the batch whose expanded maps fit into the cache."""
    count, _, height, width = x.shape
    bytes_each = x.element_size() * wide * height * width
    step = max(1, CHUNK_BYTES // bytes_each)
    for first in range(0, count, step):
        last = min(first + step, count)
        yield slice(first * height * width, last * height * width), slice(first, last)


def _rows(x: Tensor) -> Tensor:
    """Returns `(N, C, S, S)` in channels-last memory as `(N · S · S, C)`."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _map(rows: Tensor, x: Tensor) -> Tensor:
    """Returns rows as a map of the size of `x`, in channels-last memory."""
    return rows.view(-1, *x.shape[2:], rows.shape[1]).permute(0, 3, 1, 2)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    """Returns the parts' maps as one, without a copy where there is one part."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps))


@torch.no_grad()
def _update_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Updates running statistics as batch norm itself does in training."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    # Without a momentum torch keeps the plain mean over all batches.
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
