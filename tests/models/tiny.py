"""Small detectors for tests."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from nas.genome import Genome
from nas.models import Detector, build
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace


def tiny(genome: Genome | None = None, size: int = 128) -> Genome:
    """SpineNet-49, or another, at a sixteenth of its width."""
    genome = genome or zoo.genome("spinenet-49")
    return genome.scaled(width=1 / 16, alpha=0.5, head_width=16, input_size=size)


def sampled(seed: int) -> Genome:
    """A genome of the paper's space, small."""
    return tiny(SpineNetSpace().sample(random.Random(seed)))


def built(genome: Genome, num_classes: int = 4, seed: int = 0, drop_path: float = 0.0) -> Detector:
    """A detector with the first weights of a seed."""
    torch.manual_seed(seed)
    return build(genome, num_classes, drop_path)


def pictures(count: int, size: int, seed: int = 0) -> Tensor:
    """`(count, 3, size, size)` uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
