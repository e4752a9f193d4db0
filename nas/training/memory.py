"""The memory and the disk that a training takes: counted before it runs, measured while it does."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import Tensor, nn

from nas.genome import Genome
from nas.models import build
from nas.models.fast_cpu import accelerate
from nas.training.settings import RecipeSettings

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def activation_bytes(genome: Genome, num_classes: int, images: int) -> int:
    """Bytes that a forward pass in fp32 keeps for the backward pass, found without computing.

    The losses' own are not among them.

    Args:
        genome: what is trained.
        num_classes: background counts.
        images: at once; 2 at least, for batch norms of maps of one pixel.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    size = genome.input.size
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        model = accelerate(build(genome, num_classes)).train()
        weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
        model.raw(torch.empty(images, 3, size, size))
    return sum(storage.nbytes() for key, storage in kept.items() if key not in weights)


class StateBytes(NamedTuple):
    """Bytes of a training's state, whatever the batch."""

    weights: int  # with buffers
    gradients: int
    moments: int  # the optimiser's
    average: int  # of weights

    @property
    def kept(self) -> int:
        """What a checkpoint holds."""
        return self.weights + self.moments + self.average


def state_bytes(model: nn.Module, recipe: RecipeSettings) -> StateBytes:
    """Bytes of what a model and its optimiser hold."""
    learnt = _bytes(weight for weight in model.parameters() if weight.requires_grad)
    weights = _bytes(model.parameters()) + _bytes(model.buffers())
    moments = 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)
    return StateBytes(weights, learnt, moments * learnt, weights if recipe.has_average else 0)


def reset_peak(device: torch.device) -> int:
    """Forgets the most memory taken so far; returns the bytes taken now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_reserved(device)
    with contextlib.suppress(OSError):  # else the most of the whole process stands for it
        _CLEAR.write_text("5", encoding="ascii")  # Linux: man 5 proc
    return int(psutil.Process().memory_info().rss)


def peak(device: torch.device) -> int:
    """The most bytes taken since `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _high_water() or most * (1 if sys.platform == "darwin" else 1024)


def _high_water() -> int:
    """Bytes that Linux has counted since the reset, which psutil doesn't tell; 0 elsewhere."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
