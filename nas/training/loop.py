"""The one training loop: `train` goes through epochs, `train_epoch` through steps.

Everything random is a function of (seed, epoch) and of what was drawn since the epoch began, and
the learning rate one of the step, so that a resumed run goes on bit by bit as if it had never
stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from nas.errors import NasError
from nas.models.fast_cpu import accelerate
from nas.training.checkpoint import Checkpoints
from nas.training.compile import compiled
from nas.training.distributed import Workers
from nas.training.freezing import batch_norms, freeze, set_training
from nas.training.nonfinite_dump import keep_incident
from nas.training.numerics import autocast, generator_states, set_generators, set_numerics
from nas.training.optimizer import make_optimizer
from nas.training.schedule import check_schedule, learning_rate
from nas.training.settings import RecipeSettings
from nas.training.state import TrainingState, Within
from nas.training.update import Batch, Losses, Place, add_gradients, memory_format

OnStep = Callable[[int, float, float], None]
"""Called after each update with its number from 0, the learning rate, and the loss."""


class NotFinite(NasError, FloatingPointError):
    """The loss became infinite or no number: for a trial a failure of its own kind."""


class Batches(Protocol):
    """This worker's share of the training part, in an order that is a function of the epoch."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]: ...


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


@dataclass
class Course:
    """What a training has from beginning to end, besides its state: see `train`.

    Attributes:
        saved_at: when a checkpoint was last written, in seconds of a clock that never goes back.
    """

    batches: Batches
    recipe: RecipeSettings
    place: Place
    seed: int
    checkpoints: Checkpoints | None = None
    incidents: Path | None = None
    on_step: OnStep | None = None
    saved_at: float = 0.0


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
    place = Place(torch.device(device), workers or Workers())
    course = Course(batches, recipe, place, seed, checkpoints, incidents, on_step)
    state = _begin(model, course)
    if state.epoch == recipe.epochs:
        finish(state, course)
    with compiled(model, place.device, wanted=recipe.compile):
        for number in range(state.epoch, recipe.epochs):
            torch.manual_seed((seed * 1_000_003 + number) % 2**63)
            set_generators(state.within.generators)
            epoch = train_epoch(state, course)
            state.epoch, state.within = number + 1, Within()
            _save(state, course)
            if state.epoch == recipe.epochs:
                finish(state, course)
            yield epoch


def train_epoch(state: TrainingState, course: Course) -> Epoch:
    """Goes through the batches that are left of an epoch, one update for each."""
    recipe, within = course.recipe, state.within
    started, before, steps, lr = time.perf_counter(), within.seconds, len(course.batches), 0.0
    set_training(state.model, recipe)
    for share in course.batches.epoch(state.epoch, within.steps):
        lr = learning_rate(recipe, state.step, steps)
        losses = add_gradients(state, share, recipe, course.place)
        value = _finite(losses, state, course, share, lr)
        _step(state, recipe, lr)
        for name, term in losses.terms.items():
            within.sums[name] = within.sums[name] + term if name in within.sums else term
        if course.on_step is not None:
            course.on_step(state.step, lr, value)
        state.step += 1
        within.steps += 1
        within.images += losses.images
        within.seconds = before + time.perf_counter() - started
        if within.steps < steps and _is_due(course):
            within.generators = generator_states(course.place.device)
            _save(state, course)
    means = {name: (total / max(1, steps)).item() for name, total in within.sums.items()}
    return Epoch(state.epoch + 1, state.step, lr, means, within.seconds, within.images)


def finish(state: TrainingState, course: Course) -> None:
    """Puts the averaged weights into the model and measures batch-norm statistics anew."""
    recipe, device = course.recipe, course.place.device
    if course.place.workers.count > 1:
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
        epoch = course.batches.epoch(recipe.epochs)
        for _, batch in zip(range(recipe.bn_batches), epoch, strict=False):
            images = batch.images.to(device).contiguous(memory_format=memory_format(recipe))
            state.model.losses(  # type: ignore[operator]
                images, batch.boxes.to(device), batch.labels.to(device)
            )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _begin(model: nn.Module, course: Course) -> TrainingState:
    """Prepares a model for a recipe, and goes to where the last checkpoint was."""
    recipe, place = course.recipe, course.place
    set_numerics(recipe.threads)
    accelerate(model).to(place.device).to(memory_format=memory_format(recipe))
    if recipe.precision == "fp64":
        model.double()
    for norm in batch_norms(model):
        norm.momentum = norm.momentum if recipe.bn_momentum is None else recipe.bn_momentum
    freeze(model, recipe)
    if place.workers.count > 1 and place.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    steps = recipe.epochs * len(course.batches)
    state = TrainingState.start(model, make_optimizer(model, recipe), recipe, place.device, steps)
    if course.checkpoints is not None:
        if place.workers.rank == 0:
            course.checkpoints.hold()
        course.checkpoints.load_into(state)
    place.workers.check_alike(state.epoch, state.step, place.device)
    course.saved_at = time.monotonic()
    return state


def _step(state: TrainingState, recipe: RecipeSettings, lr: float) -> None:
    """One update from the gradients of the whole batch, which it then takes away."""
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
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


def _finite(losses: Losses, state: TrainingState, course: Course, share: Batch, lr: float) -> float:
    """The loss of the whole batch, the same on all workers.

    Looked at once an update, behind the backward pass, so that a GPU needn't wait before it.

    Raises:
        NotFinite: nothing was updated.
    """
    value: float = torch.stack(list(losses.terms.values())).sum().item()
    if math.isfinite(value):
        return value
    kept = None
    if course.incidents is not None:
        rank = course.place.workers.rank
        facts = {
            **{"step": state.step, "epoch": state.epoch, "lr": lr, "seed": course.seed},
            **{"precision": course.recipe.precision, "scale": state.scaler.get_scale()},
        }
        name = f"step-{state.step}-worker-{rank}"
        here = keep_incident(course.incidents, name, share, losses, facts)
        anywhere = torch.tensor(float(here), device=course.place.device)
        kept = course.incidents if course.place.workers.total(anywhere) else None
    terms = ", ".join(f"{name} {term.item():g}" for name, term in losses.terms.items())
    where = f"; the images that led to it lie in {kept}" if kept else ""
    raise NotFinite(
        f"the loss of step {state.step} is not finite ({terms}); lower recipe.lr, "
        f"set recipe.clip_norm, or take precision fp32{where}"
    )


def _is_due(course: Course) -> bool:
    """Whether an epoch has gone on for so long that it is saved before its end."""
    minutes = (time.monotonic() - course.saved_at) / 60
    return course.checkpoints is not None and minutes >= course.recipe.checkpoint_minutes


def _save(state: TrainingState, course: Course) -> None:
    """The first worker writes, for all are alike."""
    if course.checkpoints is not None and course.place.workers.rank == 0:
        course.checkpoints.save(state)
        course.saved_at = time.monotonic()
