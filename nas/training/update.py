"""The gradient of a whole batch, in however many parts it is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.data.batches import part_of
from nas.models.stochastic_depth import StochasticDepth
from nas.training.distributed import Workers
from nas.training.numerics import autocast, generator_states, set_generators
from nas.training.settings import RecipeSettings
from nas.training.state import TrainingState


class Batch(Protocol):
    """Images (B, 3, S, S) uint8; boxes (B, M, 4) xyxy in input pixels; labels (B, M), 0 pads."""

    images: Tensor
    boxes: Tensor
    labels: Tensor


class Detector(Protocol):
    """What the loop asks of a model besides being a module.

    Only where a batch is computed in parts is it asked for `positives`, and gives `losses` that
    add up when told their number in the whole batch.
    """

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]: ...

    def positives(self, boxes: Tensor, labels: Tensor) -> int: ...


@dataclass(frozen=True)
class Place:
    """Where a process computes: its device, and its number among the workers."""

    device: torch.device
    workers: Workers


@dataclass(frozen=True)
class Losses:
    """What a batch came to.

    Attributes:
        terms: of the whole batch, all workers' images together.
        images: in the whole batch.
        parts: this worker's parts, as slices of its share, with the loss of each.
    """

    terms: dict[str, Tensor]
    images: int
    parts: list[tuple[slice, Tensor]]


def add_gradients(
    state: TrainingState, share: Batch, recipe: RecipeSettings, place: Place
) -> Losses:
    """Adds a batch's (scaled) gradient to the weights'.

    A worker has its share of the batch, and computes it in micro-batches of
    `recipe.micro_batch` images at most. Losses are sums over all images divided by what depends
    on the number of positive anchors alone; where there are parts, that number is counted first,
    in all of them and on all workers. So gradients add up to those of the whole batch.

    Batch norms don't see the whole batch: their statistics are those of a micro-batch, where
    workers have GPUs those of all workers' micro-batches together.
    """
    model: Any = state.model
    boxes = share.boxes.to(place.device, non_blocking=True)
    labels = share.labels.to(place.device, non_blocking=True)
    count = len(share.images)
    number = math.ceil(count / (recipe.micro_batch or count))
    slices = [part_of(count, part, number) for part in range(number)]
    whole = _Whole(count)
    if number > 1 or place.workers.count > 1:
        positives = sum(model.positives(boxes[rows], labels[rows]) for rows in slices)
        whole = _Whole.of_all(count, positives, place)
    depths = whole.depths(model)
    before = generator_states(place.device) if depths else {}
    parts, terms = [], dict[str, Tensor]()
    for rows in slices:
        set_generators(before)
        for depth in depths:
            depth.take(whole.first + rows.start, whole.images)
        images = share.images[rows].to(place.device, non_blocking=True)
        images = images.contiguous(memory_format=memory_format(recipe))
        with autocast(place.device, recipe.precision):
            losses = model.losses(images, boxes[rows], labels[rows], *whole.positives)
        loss = torch.stack(list(losses.values())).sum()
        state.scaler.scale(loss).backward()
        parts.append((rows, loss.detach()))
        for name, term in losses.items():
            terms[name] = terms[name] + term.detach() if name in terms else term.detach()
    for depth in depths:
        depth.take(0, 0)
    place.workers.sum_gradients(state.model)
    if place.workers.count > 1:
        sums = place.workers.total(torch.stack(list(terms.values())))
        terms = dict(zip(terms, sums.unbind(), strict=True))
    return Losses(terms, whole.images, parts)


@dataclass(frozen=True)
class _Whole:
    """The batch that a worker's share is a part of.

    Attributes:
        images: in all of it.
        first: number of the share's first image.
        positives: its positive anchors, as the last argument of `losses`; empty where the share
            is computed at once and is all.
    """

    images: int
    first: int = 0
    positives: tuple[int, ...] = ()

    @classmethod
    def of_all(cls, images: int, positives: int, place: Place) -> _Whole:
        """From each worker's numbers of images and positives."""
        workers = place.workers
        counts = torch.zeros(workers.count + 1, dtype=torch.int64, device=place.device)
        counts[workers.rank], counts[-1] = images, positives
        *shares, total = workers.total(counts).tolist()
        return cls(sum(shares), sum(shares[: workers.rank]), (total,))

    def depths(self, model: nn.Module) -> list[StochasticDepth]:
        """The modules that have to draw for the whole batch, each part beginning alike."""
        if not self.positives:
            return []
        return [module for module in model.modules() if isinstance(module, StochasticDepth)]


def memory_format(recipe: RecipeSettings) -> torch.memory_format:
    """Of images and maps."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format
