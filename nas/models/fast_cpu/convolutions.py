"""Convolutions that train faster than torch's own on the CPU, and compute the same.

Measured with torch 2.15 and one thread on AVX-512:

- A depthwise kernel wider than 3 has its weights' gradient from an oneDNN routine that takes ten
  times as long as the one for 3 columns (10.7 ms against 1.1 ms for 8×120×40×40). It is put
  together from columns of 3 here, each with the part of the input that it meets.
- A 1×1 convolution of less than 16 images goes through a routine that fills its outputs with
  zeros first; a matrix product doesn't (151 ms against 208 ms for the backward pass of SSDlite's).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.models.layers import ConvNorm, SameConv2d

COLUMNS = 3
"""Width of the kernels that oneDNN has a fast gradient for."""
LARGE_BATCH = 16
"""From here on, or with several threads, torch gives 1×1 convolutions to oneDNN."""


def accelerate_convolutions(model: nn.Module) -> None:
    """Gives depthwise convolutions, and the 1×1 of each `ConvNorm`, their fast class.

    A convolution of a class of its own keeps it, since its forward may be another. Other 1×1
    convolutions stay torch's: they are few, and a training's bits depend on it.
    """
    for module in model.modules():
        if is_depthwise(module):
            module.__class__ = DepthwiseConv2d
        elif _is_depthwise_same(module):
            module.__class__ = DepthwiseSameConv2d
        elif isinstance(module, ConvNorm) and is_pointwise(module[0]):
            module[0].__class__ = PointwiseConv2d


def is_pointwise(module: nn.Module) -> bool:
    """Whether a module is torch's 1×1 convolution of all channels, without stride or padding."""
    return (
        type(module) is nn.Conv2d
        and not is_depthwise(module)
        and module.kernel_size == module.stride == (1, 1)
        and module.padding == (0, 0)
        and module.groups == 1
    )


def is_depthwise(module: nn.Module) -> bool:
    """Whether a module is torch's convolution of one filter a channel, square and symmetric."""
    if type(module) is not nn.Conv2d or module.bias is not None or module.padding_mode != "zeros":
        return False
    if not module.groups == module.in_channels == module.out_channels:
        return False
    squares = (module.kernel_size, module.stride, module.dilation)
    padding = module.dilation[0] * (module.kernel_size[0] - 1) // 2
    return all(a == b for a, b in squares) and module.padding == (padding, padding)


def _is_depthwise_same(module: nn.Module) -> bool:
    """Whether a module is a convolution of one filter a channel, padded as TensorFlow pads."""
    if type(module) is not SameConv2d or module.bias is not None:
        return False
    return module.groups == module.in_channels == module.out_channels


def is_plain(x: Tensor) -> bool:
    """Whether a map is on the CPU, in channels-last memory, and no autocast narrows its numbers."""
    narrowed = torch.is_autocast_enabled("cpu")
    return x.is_cpu and not narrowed and x.is_contiguous(memory_format=torch.channels_last)


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution; `(N, C, S, S)` to `(N, C', S, S)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Computes it in training as a matrix product, where torch would take its slow routine."""
        slow = len(x) < LARGE_BATCH and torch.get_num_threads() == 1
        if not (self.training and slow and is_plain(x)):
            return super().forward(x)
        rows = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


class DepthwiseConv2d(nn.Conv2d):
    """One filter a channel, as `is_depthwise` has it; only its gradient is made otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Filters `(N, C, S, S)` to `(N, C, S', S')`."""
        if not (self.training and is_wide(self.weight, self.dilation[0]) and is_plain(x)):
            return super().forward(x)
        out: Tensor = _DepthwiseByColumns.apply(x, self.weight, self.windows(x))
        return out

    def windows(self, x: Tensor) -> Windows:
        """Returns where its windows lie on a map."""
        padding = self.dilation[0] * (self.kernel_size[0] - 1) // 2
        return Windows(self.stride[0], self.dilation[0], (padding, padding))


class DepthwiseSameConv2d(SameConv2d):
    """One filter a channel, padded as TensorFlow pads."""

    def forward(self, x: Tensor) -> Tensor:
        """Filters `(N, C, S, S)` to `(N, C, ceil(S / stride), ceil(S / stride))`."""
        if not (self.training and is_wide(self.weight, self.dilation[0]) and is_plain(x)):
            return super().forward(x)
        out: Tensor = _DepthwiseByColumns.apply(x, self.weight, self.windows(x))
        return out

    def windows(self, x: Tensor) -> Windows:
        """Returns where its windows lie on a map.

        Windows that begin `before` pixels before a map are those of a convolution that pads by a
        stride more, on both sides, behind its first one. So the large map isn't copied to be
        padded; one row and one column more are computed, and left out.
        """
        stride = self.stride[0]
        sides = [self.pads(side) for side in x.shape[2:]]
        uneven = [before != after for before, after in sides]
        top, left = (
            before + stride * more for (before, _), more in zip(sides, uneven, strict=True)
        )
        height, width = (-(-side // stride) for side in x.shape[2:])
        return Windows(stride, self.dilation[0], (top, left), (*uneven,), (height, width))


class Windows(NamedTuple):
    """Where the windows of a depthwise convolution lie, in terms of torch's convolution.

    Attributes:
        stride: of the convolution.
        dilation: of the convolution.
        padding: pixels on both sides, of rows and of columns.
        skipped: whether the first row and the first column of windows are left out.
        sizes: rows and columns that are kept behind these; None where all are.
    """

    stride: int
    dilation: int
    padding: tuple[int, int]
    skipped: tuple[bool, ...] = (False, False)
    sizes: tuple[int, int] | None = None

    @property
    def kept(self) -> tuple[slice, slice]:
        """Returns the rows and the columns of torch's convolution that are kept."""
        assert self.sizes is not None
        rows, columns = (
            slice(int(first), int(first) + size)
            for first, size in zip(self.skipped, self.sizes, strict=True)
        )
        return rows, columns


def depthwise(x: Tensor, weight: Tensor, windows: Windows) -> Tensor:
    """Filters `(N, C, S, S)` by `(C, 1, k, k)`."""
    stride, dilation, padding, skipped, _ = windows
    out = F.conv2d(x, weight, None, stride, padding, dilation, len(weight))
    if not any(skipped):
        return out
    rows, columns = windows.kept
    return out[:, :, rows, columns].contiguous(memory_format=torch.channels_last)


class _DepthwiseByColumns(torch.autograd.Function):
    """torch's depthwise convolution with `depthwise_gradients` as its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, windows: Windows) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.windows = windows
        return depthwise(x, weight, windows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        return *depthwise_gradients(grad_outputs[0], x, weight, ctx.windows), None


def is_wide(weight: Tensor, dilation: int) -> bool:
    """Whether a kernel is one whose gradient is put together from columns."""
    kernel = weight.shape[-1]
    return kernel > COLUMNS and kernel % 2 == 1 and dilation == 1


def depthwise_gradients(
    grad_output: Tensor, x: Tensor, weight: Tensor, windows: Windows
) -> tuple[Tensor, Tensor]:
    """Computes the gradients of `depthwise`.

    Args:
        grad_output: `(N, C, S', S')`, of the output.
        x: `(N, C, S, S)`, the input.
        weight: `(C, 1, k, k)`.
        windows: of the convolution.

    Returns:
        The gradients of `x` and of `weight`.
    """
    stride, dilation, (top, side), skipped, _ = windows
    kernel, wide = weight.shape[-1], is_wide(weight, dilation)
    if any(skipped):
        # What was left out has no gradient.
        whole = [
            (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for length, padding in zip(x.shape[2:], windows.padding, strict=True)
        ]
        rows, columns = windows.kept
        around = (columns.start, whole[1] - columns.stop, rows.start, whole[0] - rows.stop)
        grad_output = F.pad(grad_output, around)

    def convolution_backward(
        x: Tensor, weight: Tensor, side_padding: int, output_mask: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            *(grad_output, x, weight, None),
            *([stride] * 2, [top, side_padding], [dilation] * 2),
            *(False, [0, 0], len(weight), output_mask),
        )
        return result

    grad_x, grad_weight, _ = convolution_backward(x, weight, side, [True, not wide, False])
    if not wide:
        return grad_x, grad_weight
    # Kernel columns f … f + 2 meet the input shifted by f − padding: with it cut (or padded by
    # zeros) so that it begins there, they are a kernel of 3 columns without padding at the sides.
    # Steps of two columns cover an odd kernel; where two parts overlap, both give the same.
    grad_weight, narrow = torch.empty_like(weight), weight[..., :COLUMNS].contiguous()
    width = stride * (grad_output.shape[3] - 1) + COLUMNS
    for first in range(0, kernel - 2, 2):
        left = side - first
        shifted = F.pad(x, (left, width - left - x.shape[3]))
        part = slice(first, first + COLUMNS)
        grad_weight[..., part] = convolution_backward(shifted, narrow, 0, [False, True, False])[1]
    return grad_x, grad_weight
