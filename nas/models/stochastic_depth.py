"""Stochastic depth whose draws don't depend on how a batch is divided."""

from __future__ import annotations

import torchvision
from torch import Tensor


class StochasticDepth(torchvision.ops.StochasticDepth):
    """Drops a branch of some pictures in training (arXiv 1603.09382).

    For a part of a larger batch (`take`) it draws for all of that, so that parts, each begun with
    the same state of the generator, drop what the whole would.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p, "row")
        self._first, self._total = 0, 0

    def take(self, first: int, total: int) -> None:
        """From now on inputs are pictures ``first``, ``first + 1``, … of ``total``."""
        self._first, self._total = first, total

    def forward(self, input: Tensor) -> Tensor:
        """``(N, …)`` to the same shape."""
        if not self.training or self._total in (0, len(input)):
            out: Tensor = super().forward(input)
            return out
        whole = super().forward(input.new_ones((self._total,) + (1,) * (input.ndim - 1)))
        return input * whole[self._first : self._first + len(input)]
