"""Pooling of a tapped map."""

from __future__ import annotations

from torch import nn

from nas.genome import Unit
from nas.genome import parts as schema
from nas.genome.network import BatchNorm


def pool(part: schema.Pool, unit: Unit, norm: BatchNorm) -> nn.Module:
    """Makes the pooling from `(N, C, S, S)` to `(N, C, S / stride, S / stride)`."""
    return nn.MaxPool2d(part.stride) if part.mode == "max" else nn.AvgPool2d(part.stride)
