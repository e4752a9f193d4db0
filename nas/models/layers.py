"""The layers that blocks, edges, necks and heads share: convolution with norm, pooling, init."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome.network import BatchNorm
from nas.genome.padding import PaddingRule, pads, same_padding
from nas.genome.part import Activation
from nas.models.activations import activation


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME: the odd pixel at the bottom and right.

    `(N, C, S, S)` to `(N, C', ceil(S / stride), ceil(S / stride))`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pads a map by its sides, and filters it."""
        (top, bottom), (left, right) = self.pads(x.shape[-2]), self.pads(x.shape[-1])
        if (top, left) != (bottom, right):  # torch's own convolutions pad alike on both sides
            x = F.pad(x, (left, right, top, bottom))
            top = left = 0
        return F.conv2d(
            x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups
        )

    def pads(self, size: int) -> tuple[int, int]:
        """Returns the pixels before and behind a side."""
        return same_padding(int(size), self.kernel_size[0], self.stride[0], self.dilation[0])


def convolution(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: PaddingRule = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Returns a convolution with any rule of padding; torch's own class where that can do it."""
    if padding == "same" and (stride > 1 or kernel % 2 == 0):
        return SameConv2d(in_channels, channels, kernel, stride, 0, dilation, groups, bias=bias)
    # What is left doesn't depend on a map's side.
    pixels, _ = pads(padding, kernel, kernel, stride, dilation)
    return nn.Conv2d(in_channels, channels, kernel, stride, pixels, dilation, groups, bias=bias)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, activation; padded symmetrically, or as a rule says.

    Input `(N, in_channels, H, W)`, output `(N, channels, ceil(H / stride), ceil(W / stride))`
    for odd kernels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        norm: BatchNorm,
        act: Activation = "none",
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: PaddingRule = None,
    ) -> None:
        conv = convolution(in_channels, channels, kernel, stride, padding, dilation, groups)
        layers: list[nn.Module] = [conv, batch_norm(channels, norm)]
        if act != "none":
            layers.append(activation(act))
        super().__init__(*layers)


def batch_norm(channels: int, norm: BatchNorm) -> nn.BatchNorm2d:
    """Makes a batch norm over `channels` with the genome's constants."""
    return nn.BatchNorm2d(channels, eps=norm.eps, momentum=norm.momentum)


def max_pool_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pools with TensorFlow's padding SAME: its odd pixel is at the bottom and the right.

    Args:
        x: `(N, C, S, S)`.
        kernel: side of a window in pixels.
        stride: pixels between windows.

    Returns:
        `(N, C, ceil(S / stride), ceil(S / stride))`.
    """
    size = x.shape[-1]
    before, after = same_padding(size, kernel, stride)
    if before == after:
        return F.max_pool2d(x, kernel, stride, padding=before)
    if before == 0 and stride > 1:
        # A window that hangs over the edge ignores what isn't there, as padding by -inf would.
        return F.max_pool2d(x, kernel, stride, ceil_mode=True)
    return F.max_pool2d(F.pad(x, (before, after, before, after), value=-math.inf), kernel, stride)


@torch.no_grad()
def initialize(module: nn.Module) -> None:
    """Draws convolution weights as TensorFlow's variance scaling does: scale 1, fan-in.

    A normal cut at two deviations, widened so that what is left has variance 1 / fan-in.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            std = math.sqrt(1.0 / fan_in) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
