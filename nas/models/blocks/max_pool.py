"""Max pooling as a block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit
from nas.genome import operations as schema
from nas.genome.network import BatchNorm
from nas.models.layers import max_pool_same


class MaxPool(nn.Module):
    """``(N, C, S, S)`` to ``(N, C, S', S')``; padded as TensorFlow does, or by a number."""

    def __init__(
        self, unit: Unit, in_channels: int, copy: int, norm: BatchNorm, dropped: nn.Module
    ) -> None:
        super().__init__()
        assert isinstance(unit.part, schema.MaxPool)
        self.op = unit.part

    def forward(self, x: Tensor) -> Tensor:
        """Pools."""
        op = self.op
        if op.padding == "same":
            return max_pool_same(x, op.kernel, op.stride)
        return F.max_pool2d(x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil)
