"""The one training loop: `train` goes through epochs, `train_epoch` through steps.

Everything random is a function of (seed, epoch), and the learning rate one of the step, so that
a run resumed at the end of an epoch goes on bit by bit as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.training.checkpoint import Checkpoints, TrainingState
from nas.training.numerics import set_numerics
from nas.training.optimizer import make_optimizer
from nas.training.schedule import check_schedule, learning_rate
from nas.training.settings import Precision, RecipeSettings

OnStep = Callable[[int, float, float], None]
"""Called after each update with its number from 0, the learning rate, and the loss."""


class NotFinite(NasError, FloatingPointError):
    """The loss became infinite or no number: for a trial a failure of its own kind."""


class Batch(Protocol):
    """Images (B, 3, S, S) uint8; boxes (B, M, 4) xyxy in input pixels; labels (B, M), 0 pads."""

    images: Tensor
    boxes: Tensor
    labels: Tensor


class Batches(Protocol):
    """The training part, in an order that is a function of the epoch alone."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[Any]: ...


class Detector(Protocol):
    """What the loop asks of a model besides being a module."""

    def losses(self, images: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]: ...


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
    on_step: OnStep | None = None,
) -> Iterator[Epoch]:
    """Trains `model` in place, and yields after each epoch, so that it can be judged or stopped.

    With `checkpoints` it goes on from the last one, and saves each epoch before yielding it.
    With `recipe.ema` the model holds the averaged weights at the end, not before; with
    `recipe.bn_batches` its batch-norm statistics are measured anew at the end.

    Raises:
        NotFinite: the loss is not finite.
        RunError: the checkpoint belongs to another run.
        ConfigError: the warm-up is longer than the training.
    """
    check_schedule(recipe, len(batches))
    device = torch.device(device)
    set_numerics(recipe.threads)
    model.to(device).to(memory_format=_memory_format(recipe))
    _set_bn_momentum(model, recipe.bn_momentum)
    state = TrainingState.start(model, make_optimizer(model, recipe), recipe, device)
    if checkpoints is not None:
        checkpoints.load_into(state)
    if state.epoch == recipe.epochs:
        finish(state, batches, recipe, device)
    for number in range(state.epoch, recipe.epochs):
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        epoch = train_epoch(state, batches, recipe, device, on_step)
        state.epoch = number + 1
        if checkpoints is not None:
            checkpoints.save(state)
        if state.epoch == recipe.epochs:
            finish(state, batches, recipe, device)
        yield epoch


def train_epoch(
    state: TrainingState,
    batches: Batches,
    recipe: RecipeSettings,
    device: torch.device,
    on_step: OnStep | None = None,
) -> Epoch:
    """Goes once through the batches, one update for each, and returns the mean losses."""
    started, seen, lr = time.perf_counter(), 0, 0.0
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
    sums: dict[str, Tensor] = {}
    model.train()
    for batch in batches.epoch(state.epoch):
        images = batch.images.to(device, non_blocking=True)
        images = images.contiguous(memory_format=_memory_format(recipe))
        boxes = batch.boxes.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        with autocast(device, recipe.precision):
            losses: dict[str, Tensor] = model.losses(images, boxes, labels)  # type: ignore[operator]
        loss = torch.stack(list(losses.values())).sum()
        value = loss.item()
        if not math.isfinite(value):
            terms = ", ".join(f"{name} {term.item():g}" for name, term in losses.items())
            raise NotFinite(
                f"the loss of step {state.step} is not finite ({terms}); lower recipe.lr, "
                "set recipe.clip_norm, or take precision fp32"
            )
        lr = learning_rate(recipe, state.step, len(batches))
        for group in optimizer.param_groups:
            group["lr"] = lr
        scaler.scale(loss).backward()
        if recipe.clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if state.ema is not None:
            state.ema.update_parameters(model)
        for name, term in losses.items():
            sums[name] = sums[name] + term.detach() if name in sums else term.detach()
        if on_step is not None:
            on_step(state.step, lr, value)
        state.step += 1
        seen += len(images)
    means = {name: (total / max(1, len(batches))).item() for name, total in sums.items()}
    seconds = time.perf_counter() - started
    return Epoch(state.epoch + 1, state.step, lr, means, seconds, seen)


def finish(
    state: TrainingState, batches: Batches, recipe: RecipeSettings, device: torch.device
) -> None:
    """Puts the averaged weights into the model and measures batch-norm statistics anew."""
    if state.ema is not None:
        state.model.load_state_dict(state.ema.module.state_dict())
    norms = [m for m in state.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if recipe.bn_batches == 0 or not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: the plain mean over all batches since the reset
    state.model.train()
    with torch.no_grad(), autocast(device, recipe.precision):
        for _, batch in zip(range(recipe.bn_batches), batches.epoch(recipe.epochs), strict=False):
            images = batch.images.to(device).contiguous(memory_format=_memory_format(recipe))
            state.model.losses(  # type: ignore[operator]
                images, batch.boxes.to(device), batch.labels.to(device)
            )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a model runs in `precision`; its weights stay fp32."""
    dtype = autocast_dtype(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """The type that autocast runs in; None for fp32, which needs no autocast."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _memory_format(recipe: RecipeSettings) -> torch.memory_format:
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def _set_bn_momentum(model: nn.Module, momentum: float | None) -> None:
    for module in model.modules():
        if momentum is not None and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum
