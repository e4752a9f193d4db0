"""Normalisation of whole rows of an image at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.models.normalize import Normalize


class NormalizeRows(Normalize):
    """`Normalize` for images in channels-last memory.

    Three channels are too few for the processor's wide registers; a row of S pixels with 3 numbers
    each isn't.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalises `(B, 3, S, S)` images, uint8 or float in 0…1."""
        if not images.is_contiguous(memory_format=torch.channels_last):
            return super().forward(images)
        rows = images.permute(0, 2, 3, 1).flatten(2)  # (B, S, S · 3)
        statistics = self.statistics(images)
        mean, std = (x.flatten().repeat(images.shape[3]) for x in statistics)  # (S · 3,)
        return ((rows - mean) / std).unflatten(2, (-1, 3)).permute(0, 3, 1, 2)
