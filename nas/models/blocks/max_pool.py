"""Max pooling as a block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import parts as schema
from nas.models.layers import max_pool_same
from nas.models.registry import Site


class MaxPoolBlock(nn.Module):
    """`(N, C, S, S)` to `(N, C, S', S')`; padded as TensorFlow does, or by a number."""

    def __init__(self, op: schema.MaxPool, at: Site) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        """Computes `(N, C, S', S')` from `(N, C, S, S)`."""
        op = self.op
        if op.padding == "same":
            return max_pool_same(x, op.kernel, op.stride)
        return F.max_pool2d(x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil)
