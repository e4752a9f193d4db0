"""The global batch of a step, and which part of it a worker computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.data.batches import part_of
from nas.training.distributed import Process


class BatchShare(Protocol):
    """A worker's images of one step.

    Attributes:
        images: `(B, 3, S, S)` uint8.
        boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input.
        labels: `(B, M)`, 0 where padded.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class GlobalBatch:
    """The images of a step, over all workers and micro-batches.

    Attributes:
        images: in all of it.
        first: number of the share's first image.
        positives: its positives, which its losses divide by; None where one part is all of it, and
            nothing was counted.
    """

    images: int
    first: int = 0
    positives: int | None = None

    @classmethod
    def around(
        cls,
        slices: Sequence[slice],
        model: Any,
        boxes: Tensor,
        labels: Tensor,
        process: Process,
    ) -> GlobalBatch:
        """Counts the batch that a share is a part of.

        Args:
            slices: the share's micro-batches.
            model: asked for its positives, where there are several parts.
            boxes: of the share.
            labels: of the share.
            process: which of the workers this is.
        """
        workers = process.workers
        if len(slices) == 1 and workers.count == 1:
            return cls(len(boxes))
        # One sum over the workers: each one's images in a place of its own, then positives.
        counts = torch.zeros(workers.count + 1, dtype=torch.int64, device=process.device)
        counts[workers.rank] = len(boxes)
        counts[-1] = sum(model.positives(boxes[rows], labels[rows]) for rows in slices)
        *shares, positives = workers.total(counts).tolist()
        return cls(sum(shares), sum(shares[: workers.rank]), positives)

    @property
    def is_divided(self) -> bool:
        """Whether it is computed in several parts."""
        return self.positives is not None


def micro_batches(images: int, most: int | None) -> list[slice]:
    """Divides a share into as few parts of nearly equal size as have `most` images at most."""
    count = math.ceil(images / (most or images))
    return [part_of(images, part, count) for part in range(count)]
