"""Convolutions that train faster than torch's own on the CPU, and compute the same.

Measured with torch 2.15 and one thread on AVX-512:

- A depthwise kernel wider than 3 has its weights' gradient from an oneDNN routine that takes ten
  times as long as the one for 3 columns (10.7 ms against 1.1 ms for 8×120×40×40).  It is put
  together from columns of 3 here, each with the part of the input that it sees.
- A 1×1 convolution of less than 16 pictures goes through a routine that fills its outputs with
  zeros first; a matrix product doesn't (151 ms against 208 ms for the backward pass of SSDlite's).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COLUMNS = 3
LARGE_BATCH = 16
"""From here on, or with several threads, torch gives 1×1 convolutions to oneDNN."""


def is_plain(x: Tensor) -> bool:
    """Whether a map is on the CPU, in channels-last memory, and no autocast narrows its numbers."""
    narrowed = torch.is_autocast_enabled("cpu")
    return x.is_cpu and not narrowed and x.is_contiguous(memory_format=torch.channels_last)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution; ``(N, C, S, S)`` to ``(N, C', S, S)``."""

    def __init__(self, in_channels: int, channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """In training a matrix product where torch would take its slow routine."""
        slow = len(x) < LARGE_BATCH and torch.get_num_threads() == 1
        if not (self.training and slow and is_plain(x)):
            return super().forward(x)
        rows = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


class Depthwise(nn.Conv2d):
    """One filter a channel, symmetric padding, no bias; only its gradient is made otherwise."""

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, S, S)`` to ``(N, C, S', S')``."""
        if not (self.training and is_wide(self.weight, self.dilation[0]) and is_plain(x)):
            return super().forward(x)
        out: Tensor = _Depthwise.apply(x, self.weight, self.stride[0])
        return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        return *gradients(outer[0], x, weight, ctx.stride, dilation=1), None


def is_wide(weight: Tensor, dilation: int) -> bool:
    """Whether a kernel is one whose gradient is put together from columns."""
    kernel = weight.shape[-1]
    return kernel > COLUMNS and kernel % 2 == 1 and dilation == 1


def gradients(
    outer: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int
) -> tuple[Tensor, Tensor]:
    """Gradients of a depthwise convolution with symmetric padding.

    Args:
        outer: ``(N, C, S', S')``, of the output.
        x: ``(N, C, S, S)``, the input.
        weight: ``(C, 1, k, k)``.

    Returns:
        Of ``x`` and of ``weight``.
    """
    kernel, wide = weight.shape[-1], is_wide(weight, dilation)
    padding = dilation * (kernel - 1) // 2

    def convolution(
        x: Tensor, weight: Tensor, beside: int, asked: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            *(outer, x, weight, None, [stride] * 2, [padding, beside], [dilation] * 2),
            *(False, [0, 0], len(weight), asked),
        )
        return found

    of_x, of_weight, _ = convolution(x, weight, padding, [True, not wide, False])
    if not wide:
        return of_x, of_weight
    of_weight, narrow = torch.empty_like(weight), weight[..., :COLUMNS].contiguous()
    seen = stride * (outer.shape[3] - 1) + COLUMNS
    for first in range(0, kernel - 2, 2):
        left = padding - first
        columns = F.pad(x, (left, seen - left - x.shape[3]))
        part = slice(first, first + COLUMNS)
        of_weight[..., part] = convolution(columns, narrow, 0, [False, True, False])[1]
    return of_x, of_weight
