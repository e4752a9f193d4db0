"""Stochastic depth whose draws don't depend on how a batch is divided."""

from __future__ import annotations

import torchvision
from torch import Tensor

from nas.models.draws import DrawsByImage


class StochasticDepth(torchvision.ops.StochasticDepth, DrawsByImage):
    """Drops a branch of some images in training (arXiv 1603.09382)."""

    def __init__(self, p: float) -> None:
        super().__init__(p, "row")

    def forward(self, input: Tensor) -> Tensor:
        """Scales or drops each image of `(N, …)`; returns the same shape."""
        if not self.training or self.batch_images in (0, len(input)):
            out: Tensor = super().forward(input)
            return out
        kept = super().forward(input.new_ones((self.batch_images,) + (1,) * (input.ndim - 1)))
        return input * kept[self.first_image : self.first_image + len(input)]
