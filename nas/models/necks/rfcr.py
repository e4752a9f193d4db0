"""YOLO-ReT's neck: raw feature collection and redistribution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit
from nas.genome import parts as schema
from nas.genome.network import BatchNorm
from nas.models.layers import ConvNorm


class RFCRNeck(nn.Module):
    """Adds up all maps at one size, filters the sum, and appends it to some of the maps.

    Every map passes its own 1×1 without bias, batch norm or activation, and is then resampled to
    the target's size; the factors of the sum start at 1 and are not normalised. The filter is a
    depthwise convolution and a 1×1, each with batch norm and activation, without a shortcut.
    Down is by max-pooling without overlap, up is nearest.
    Source: prakharg24/yoloret, code/yolo3/model.py.

    The sketch for PyTorch in that repository's issue 1 is another function: it leaves the map of
    stride 4 out, resamples before the 1×1 (max-pools and convolutions don't commute), takes every
    second pixel instead of the largest on the way down, and is bilinear on the way up.
    """

    def __init__(self, neck: schema.RFCR, unit: Unit, norm: BatchNorm) -> None:
        super().__init__()
        width, act = neck.collect, neck.activation
        self.collect = nn.ModuleList(
            nn.Conv2d(shape.channels, width, 1, bias=False) for shape in unit.ins
        )
        self.factors = nn.Parameter(torch.ones(len(unit.ins)))
        self.filter = nn.Sequential(
            ConvNorm(width, width, neck.kernel, norm, act, groups=width),
            ConvNorm(width, neck.fuse, 1, norm, act),
        )
        self.sizes = [shape.size for shape in unit.ins]
        self.target, self.outputs = self.sizes[neck.target], neck.outputs

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Computes `(N, C_i + fuse, S_i, S_i)` of maps `(N, C_i, S_i, S_i)`, the outputs alone."""
        fused = self.filter(self.collected(maps))
        return tuple(
            torch.cat([maps[i], resampled(fused, self.target, self.sizes[i])], dim=1)
            for i in self.outputs
        )

    def collected(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Returns the weighted sum, `(N, collect, S, S)` at the target's size."""
        collected = zip(self.factors, self.collect, maps, self.sizes, strict=True)
        terms = [f * resampled(conv(x), size, self.target) for f, conv, x, size in collected]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


def resampled(x: Tensor, size: int, target: int) -> Tensor:
    """Pools by maxima, or repeats pixels; one size is a whole multiple of the other.

    Args:
        x: `(N, C, size, size)`.
        size: side of the map in pixels.
        target: side of the result in pixels.

    Returns:
        `(N, C, target, target)`.
    """
    if size > target:
        return F.max_pool2d(x, size // target)
    return x if size == target else F.interpolate(x, scale_factor=float(target // size))
