"""Normalisation of images: what the first block reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.genome import Genome


class Normalize(nn.Module):
    """Subtracts each channel's mean and divides by its deviation, both the genome's."""

    mean: Tensor
    std: Tensor

    def __init__(self, genome: Genome) -> None:
        super().__init__()
        for name, values in (("mean", genome.input.mean), ("std", genome.input.std)):
            value = torch.tensor(values).reshape(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalises `(B, 3, S, S)` images, uint8 or float in 0…1."""
        mean, std = self.statistics(images)
        return (images - mean) / std

    def statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and deviation in the images' range, `(1, 3, 1, 1)` each."""
        if images.dtype == torch.uint8:
            return self.mean * 255, self.std * 255
        return self.mean, self.std
