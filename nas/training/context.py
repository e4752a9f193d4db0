"""What a training has from beginning to end, besides its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nas.training.checkpoint import Checkpoints
from nas.training.distributed import Process
from nas.training.settings import RecipeSettings

OnStep = Callable[[int, float, float], None]
"""Called after each update with its number from 0, the learning rate, and the loss."""


class Batches(Protocol):
    """This worker's share of the training part, in an order that is a function of the epoch."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        """Yields the batches of an epoch from a step on."""


@dataclass
class LoopContext:
    """What each step of a training reads.

    Attributes:
        batches: of this worker.
        recipe: all settings of the training.
        process: where this worker computes.
        seed: of order and augmentation.
        checkpoints: where states are kept, if anywhere.
        incidents: folder for what led to a loss that isn't finite.
        on_step: called after each update.
        saved_at: when a checkpoint was last written, in seconds of a clock that never goes back.
    """

    batches: Batches
    recipe: RecipeSettings
    process: Process
    seed: int
    checkpoints: Checkpoints | None = None
    incidents: Path | None = None
    on_step: OnStep | None = None
    saved_at: float = 0.0
