"""The processes that train one model together, and what they tell each other.

Gradients are summed after the backward pass, in a fixed order. torch's DistributedDataParallel
would overlap that with the backward pass, but it arranges its buckets anew after a first step,
and so gives a resumed training other last bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, distributed, nn

from nas.errors import RunError

BUCKET = 32 * 1024 * 1024
"""Numbers that are summed at once: few messages, and little memory besides."""


@dataclass(frozen=True)
class Workers:
    """One process among `count`, of torch's default process group; alone by default.

    Attributes:
        rank: this process's number from 0.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    def total(self, values: Tensor) -> Tensor:
        """Sums a tensor over all workers."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def totals(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sums scalars over all workers, in one message."""
        if self.count == 1 or not values:
            return values
        dtype = reduce(torch.promote_types, [value.dtype for value in values.values()])
        sums = self.total(torch.stack([value.detach().to(dtype) for value in values.values()]))
        return dict(zip(values, sums.unbind(), strict=True))

    def sum_gradients(self, model: nn.Module) -> None:
        """Replaces each gradient by its sum over all workers."""
        if self.count == 1:
            return
        for bucket in _buckets(weight for weight in model.parameters() if weight.requires_grad):
            for weight in bucket:
                if weight.grad is None:  # had no part in this worker's loss
                    weight.grad = torch.zeros_like(weight)
            gradients = [weight.grad for weight in bucket if weight.grad is not None]
            flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def check_alike(self, epoch: int, step: int, device: torch.device) -> None:
        """Refuses to begin where workers have read different checkpoints.

        Raises:
            RunError: they have.
        """
        own = torch.tensor([epoch, step], dtype=torch.int64, device=device)
        if not torch.equal(self.total(own.clone()), own * self.count):
            raise RunError(
                f"worker {self.rank} would go on after step {step}, others elsewhere; put the "
                "run into a folder that all machines share"
            )


@dataclass(frozen=True)
class Process:
    """Where a process computes: its device, and its number among the workers."""

    device: torch.device
    workers: Workers


def _buckets(weights: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Weights of one type together, in their order, `BUCKET` numbers or one weight at a time."""
    bucket: list[nn.Parameter] = []
    numbers = 0
    for weight in weights:
        other = bucket and bucket[0].dtype != weight.dtype
        if bucket and (other or numbers + weight.numel() > BUCKET):
            yield bucket
            bucket, numbers = [], 0
        bucket.append(weight)
        numbers += weight.numel()
    if bucket:
        yield bucket
