"""One update of the weights, in however many parts its batch is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.models.draws import drawing_for, drawing_modules
from nas.models.losses import LossSums
from nas.training.context import LoopContext
from nas.training.global_batch import BatchShare, GlobalBatch, micro_batches
from nas.training.gradients import GradientSums
from nas.training.nonfinite_dump import keep_incident
from nas.training.numerics import autocast, generator_states, memory_format, set_generators
from nas.training.schedule import learning_rate
from nas.training.state import TrainingState


class NotFinite(NasError, FloatingPointError):
    """The loss became infinite or no number: for a trial a failure of its own kind."""


class TrainableModel(Protocol):
    """What the loop asks of a model besides being a module.

    Only where a batch is computed in parts is it asked for `positives`, and then its `losses` add
    up over the parts when told their number in the whole batch. A model whose divisors depend on
    its predictions has `is_dynamic` true, and `loss_sums(images, boxes, labels)` besides.
    """

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]:
        """Computes scalars to be added up."""

    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Counts what `losses` divides by."""


@dataclass(frozen=True)
class StepLosses:
    """What a step came to.

    Attributes:
        terms: of the whole batch, all workers' images together.
        total: their sum.
        images: in the whole batch.
        lr: learning rate of the update.
    """

    terms: dict[str, Tensor]
    total: float
    images: int
    lr: float


def train_step(state: TrainingState, share: BatchShare, context: LoopContext) -> StepLosses:
    """Makes one update of the weights from a global batch.

    Loss terms are sums over images, divided by what depends on the whole batch, so that the
    gradients of its parts add up to its own. Batch norms don't see the whole batch: their
    statistics are those of a micro-batch, where workers have GPUs those of all workers'
    micro-batches together.

    Args:
        state: changed in place, its counters aside.
        share: this worker's images.
        context: recipe, process and where incidents are kept.

    Raises:
        NotFinite: the loss isn't; nothing was updated.
    """
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
    recipe, device, workers = context.recipe, context.process.device, context.process.workers
    boxes = share.boxes.to(device, non_blocking=True)
    labels = share.labels.to(device, non_blocking=True)

    # 1. Know the whole batch. What a matching alone decides is counted now, over all workers and
    #    micro-batches, so that each part's losses can be divided by it at once.
    slices = micro_batches(len(share.images), recipe.micro_batch)
    whole = GlobalBatch.around(slices, model, boxes, labels, context.process)
    drawing = drawing_modules(model) if whole.is_divided else []
    generators = generator_states(device) if drawing else {}

    gradients = GradientSums(model, scaler)
    for rows in slices:
        # 2. Forward. Modules that draw for each image draw for the whole batch, every part from
        #    the same state of the generators, so that the draws don't depend on the parts.
        set_generators(generators)
        images = share.images[rows].to(device, non_blocking=True)
        images = images.contiguous(memory_format=memory_format(recipe))
        part = drawing_for(drawing, whole.first + rows.start, whole.images)
        with part, autocast(device, recipe.precision):
            losses = _losses(model, images, boxes[rows], labels[rows], whole.positives)

        # 3. Divide what depends on predictions. With one part a worker, the divisors of all
        #    workers are known here, and one backward pass will do; else a buffer waits for each.
        if len(slices) == 1:
            losses = losses.divided(workers.totals(losses.divisors))

        # 4. Backward, adding to the gradients of the parts before.
        gradients.add(rows, losses)

    # 5. Sum over workers: from here on gradients and terms are the whole batch's, and alike.
    terms = gradients.finish(workers)

    # 6. Look at the loss once, behind the backward pass, so that a GPU needn't wait before it.
    lr = learning_rate(recipe, state.step, len(context.batches))
    total = torch.stack(list(terms.values())).sum().item()
    if not math.isfinite(total):
        raise _not_finite(terms, gradients.parts, state, context, share, lr)

    # 7. Update. Gradients are unscaled before they are clipped; averages follow the weights.
    for group in optimizer.param_groups:
        group["lr"] = lr
    if recipe.clip_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if state.ema is not None:
        state.ema.update_parameters(model)
    return StepLosses(terms, total, whole.images, lr)


def _losses(
    model: Any, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None
) -> LossSums:
    """Computes the losses of a part of a batch; `model` is a `TrainableModel`."""
    if getattr(model, "is_dynamic", False):
        sums: LossSums = model.loss_sums(images, boxes, labels)
        return sums
    return LossSums(model.losses(images, boxes, labels, positives=positives))


def _not_finite(
    terms: dict[str, Tensor],
    parts: list[tuple[slice, Tensor]],
    state: TrainingState,
    context: LoopContext,
    share: BatchShare,
    lr: float,
) -> NotFinite:
    """Keeps what led to a loss that isn't finite; returns the error that says where."""
    kept = None
    if context.incidents is not None:
        workers = context.process.workers
        facts = {
            **{"step": state.step, "epoch": state.epoch, "lr": lr, "seed": context.seed},
            **{"precision": context.recipe.precision, "scale": state.scaler.get_scale()},
        }
        name = f"step-{state.step}-worker-{workers.rank}"
        here = keep_incident(context.incidents, name, share, terms, parts, facts)
        anywhere = torch.tensor(float(here), device=context.process.device)
        kept = context.incidents if workers.total(anywhere) else None
    values = ", ".join(f"{name} {term.item():g}" for name, term in terms.items())
    where = f"; the images that led to it lie in {kept}" if kept else ""
    return NotFinite(
        f"the loss of step {state.step} is not finite ({values}); lower recipe.lr, "
        f"set recipe.clip_norm, or take precision fp32{where}"
    )
