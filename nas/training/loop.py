"""The one training loop: `train` goes through epochs, `train_epoch` through steps.

Everything random is a function of (seed, epoch) and of what was drawn since the epoch began, and
the learning rate one of the step, so that a resumed run goes on bit by bit as if it had never
stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nas.models.fast_cpu import accelerate
from nas.training.checkpoint import Checkpoints
from nas.training.compile import compiled
from nas.training.context import Batches, LoopContext, OnStep
from nas.training.distributed import Process, Workers
from nas.training.freezing import batch_norms, freeze, set_training
from nas.training.numerics import (
    autocast,
    generator_states,
    memory_format,
    set_generators,
    set_numerics,
)
from nas.training.optimizer import make_optimizer
from nas.training.schedule import check_schedule
from nas.training.settings import RecipeSettings
from nas.training.state import EpochProgress, TrainingState
from nas.training.step import train_step


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to; `losses` are means over its steps, `seconds` its training alone."""

    number: int  # from 1
    step: int  # updates made so far
    lr: float  # of the last update
    losses: dict[str, float]
    seconds: float
    images: int

    @property
    def loss(self) -> float:
        """Mean of the total loss."""
        return sum(self.losses.values())


def train(
    model: nn.Module,
    batches: Batches,
    recipe: RecipeSettings,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
    incidents: Path | None = None,
    on_step: OnStep | None = None,
    workers: Workers | None = None,
) -> Iterator[Epoch]:
    """Trains `model` in place, and yields after each epoch, so that it can be judged or stopped.

    With `checkpoints` it goes on from the last one, and saves each epoch before yielding it, in
    long epochs every `recipe.checkpoint_minutes` too.
    With `recipe.ema` the model holds the averaged weights at the end, not before; with
    `recipe.bn_batches` its batch-norm statistics are measured anew at the end.

    Each of several `workers` calls this with the same model and its share of the batches. Weights
    stay equal; batch norms have one worker's statistics on a processor, all workers' on GPUs. The
    first one writes. What is done at the end is left out: it is done by a process that goes on
    alone from the last checkpoint.

    Raises:
        NotFinite: the loss is not finite; what led to it lies in `incidents`.
        RunError: the checkpoint belongs to another run.
        ConfigError: the warm-up is longer than the training, or the recipe can't work here.
    """
    check_schedule(recipe, len(batches))
    process = Process(torch.device(device), workers or Workers())
    context = LoopContext(batches, recipe, process, seed, checkpoints, incidents, on_step)
    state = _begin(model, context)
    if state.epoch == recipe.epochs:
        finish(state, context)
    with compiled(model, process.device, enabled=recipe.compile):
        for number in range(state.epoch, recipe.epochs):
            torch.manual_seed((seed * 1_000_003 + number) % 2**63)
            set_generators(state.progress.generators)
            epoch = train_epoch(state, context)
            state.epoch, state.progress = number + 1, EpochProgress()
            _save(state, context)
            if state.epoch == recipe.epochs:
                finish(state, context)
            yield epoch


def train_epoch(state: TrainingState, context: LoopContext) -> Epoch:
    """Goes through the batches that are left of an epoch, one update for each."""
    progress, steps, lr = state.progress, len(context.batches), 0.0
    started, before = time.perf_counter(), progress.seconds
    set_training(state.model, context.recipe)
    for share in context.batches.epoch(state.epoch, progress.steps):
        losses = train_step(state, share, context)
        lr = losses.lr
        for name, term in losses.terms.items():
            sums = progress.sums
            sums[name] = sums[name] + term if name in sums else term
        if context.on_step is not None:
            context.on_step(state.step, lr, losses.total)
        state.step += 1
        progress.steps += 1
        progress.images += losses.images
        progress.seconds = before + time.perf_counter() - started
        if progress.steps < steps and _is_due(context):
            progress.generators = generator_states(context.process.device)
            _save(state, context)
    means = {name: (total / max(1, steps)).item() for name, total in progress.sums.items()}
    return Epoch(state.epoch + 1, state.step, lr, means, progress.seconds, progress.images)


def finish(state: TrainingState, context: LoopContext) -> None:
    """Puts the averaged weights into the model and measures batch-norm statistics anew."""
    recipe, device = context.recipe, context.process.device
    if context.process.workers.count > 1:
        return
    if state.ema is not None:
        state.model.load_state_dict(state.ema.module.state_dict())
    norms = batch_norms(state.model)
    if recipe.bn_batches == 0 or not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: the plain mean over all batches since the reset
    state.model.train()
    with torch.no_grad(), autocast(device, recipe.precision):
        epoch = context.batches.epoch(recipe.epochs)
        for _, batch in zip(range(recipe.bn_batches), epoch, strict=False):
            images = batch.images.to(device).contiguous(memory_format=memory_format(recipe))
            state.model.losses(  # type: ignore[operator]
                images, batch.boxes.to(device), batch.labels.to(device)
            )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _begin(model: nn.Module, context: LoopContext) -> TrainingState:
    """Prepares a model for a recipe, and goes to where the last checkpoint was."""
    recipe, process = context.recipe, context.process
    set_numerics(recipe.threads)
    accelerate(model).to(process.device).to(memory_format=memory_format(recipe))
    if recipe.precision == "fp64":
        model.double()
    for norm in batch_norms(model):
        norm.momentum = norm.momentum if recipe.bn_momentum is None else recipe.bn_momentum
    freeze(model, recipe)
    if process.workers.count > 1 and process.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    steps = recipe.epochs * len(context.batches)
    optimizer = make_optimizer(model, recipe)
    state = TrainingState.start(model, optimizer, recipe, process.device, steps)
    if context.checkpoints is not None:
        if process.workers.rank == 0:
            context.checkpoints.hold()
        context.checkpoints.load_into(state)
    process.workers.check_alike(state.epoch, state.step, process.device)
    context.saved_at = time.monotonic()
    return state


def _is_due(context: LoopContext) -> bool:
    """Whether an epoch has gone on for so long that it is saved before its end."""
    minutes = (time.monotonic() - context.saved_at) / 60
    return context.checkpoints is not None and minutes >= context.recipe.checkpoint_minutes


def _save(state: TrainingState, context: LoopContext) -> None:
    """The first worker writes, for all are alike."""
    if context.checkpoints is not None and context.process.workers.rank == 0:
        context.checkpoints.save(state)
        context.saved_at = time.monotonic()
