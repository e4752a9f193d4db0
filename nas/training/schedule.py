"""The learning rate as a pure function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from nas.errors import ConfigError
from nas.training.settings import RecipeSettings


def learning_rate(recipe: RecipeSettings, step: int, steps_per_epoch: int) -> float:
    """Returns the rate of update number `step` (from 0), scaled to the recipe's batch size."""
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule == "onecycle":
        return recipe.scaled_lr * _onecycle(recipe, step, total)
    if step < recipe.warmup_steps:
        start = recipe.warmup_lr * recipe.lr_factor
        return start + (recipe.scaled_lr - start) * step / recipe.warmup_steps
    if recipe.schedule == "step":
        passed = sum(step >= start for start in decay_steps(recipe, steps_per_epoch))
        return recipe.scaled_lr * recipe.decay_factor**passed
    if recipe.schedule == "cosine" and recipe.cosine_by == "epoch":
        # As torch's CosineAnnealingLR stepped once an epoch; a warm-up hides its beginning.
        return recipe.scaled_lr * _cosine(
            1.0, recipe.end_factor, step // steps_per_epoch / recipe.epochs
        )
    if recipe.schedule == "cosine":
        done = (step - recipe.warmup_steps) / max(1, total - 1 - recipe.warmup_steps)
        return recipe.scaled_lr * _cosine(1.0, recipe.end_factor, done)
    return recipe.scaled_lr


def check_schedule(recipe: RecipeSettings, steps_per_epoch: int) -> None:
    """Refuses a warm-up that is as long as the training.

    Raises:
        ConfigError: says how long both are.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule != "onecycle" and recipe.warmup_steps >= total > 0:
        raise ConfigError(
            f"recipe.warmup_steps {recipe.warmup_steps} is as long as the training "
            f"({recipe.epochs} epochs of {steps_per_epoch} steps); lower it"
        )


def decay_steps(recipe: RecipeSettings, steps_per_epoch: int) -> list[int]:
    """The updates, counted from 0, from which on a rate that falls in steps is lower."""
    total = recipe.epochs * steps_per_epoch
    return [total - round(epochs * steps_per_epoch) for epochs in recipe.decay_before_end]


def _onecycle(recipe: RecipeSettings, step: int, total: int) -> float:
    """Up and down along half cosines (arXiv 1708.07120); the steps are torch's OneCycleLR's."""
    peak = max(recipe.warmup_share * total - 1, 0.0)
    if step < peak:
        return _cosine(recipe.start_factor, 1.0, step / peak)
    return _cosine(1.0, recipe.end_factor, (step - peak) / max(1.0, total - 1 - peak))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(done, 1.0)))
