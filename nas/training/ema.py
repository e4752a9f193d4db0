"""The average of weights that is judged and shipped in their place, where a recipe has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas.training.settings import RecipeSettings

LONGEST = 0.9998
"""Greatest decay of an average whose horizon is a share of the steps (YOLOX's, NanoDet-Plus's)."""


def averaged(model: nn.Module, recipe: RecipeSettings, steps: int) -> AveragedModel | None:
    """Returns the average of a model's weights and buffers before the first update.

    Args:
        model: What is averaged.
        recipe: Says how; None is returned where it wants no average.
        steps: Updates of the whole training.
    """
    if recipe.ema_share:
        return AveragedModel(
            model, multi_avg_fn=_ramped(horizon_decay(recipe.ema_share, steps)), use_buffers=True
        )
    if recipe.ema:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    return None


def horizon_decay(share: float, steps: int) -> float:
    """Returns the decay whose horizon, 1 / (1 - decay) updates, is a share of all steps.

    A fixed 0.9998 still is the start by 95 % after 250 updates: its horizon is 5,000.
    """
    return min(LONGEST, max(0.0, 1 - 1 / max(1.0, share * steps)))


def ramp(decay: float, updates: int) -> float:
    """Returns the decay of an update: small at first, so that the start is soon forgotten.

    The ramp is (1 + t) / (10 + t), TensorFlow's `ExponentialMovingAverage(num_updates=…)`.

    Args:
        decay: Its limit.
        updates: Updates that were averaged before.
    """
    return min(decay, (1 + updates) / (10 + updates))


def _ramped(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Returns torch's average with a decay that follows from the number of updates.

    That number is a buffer of the average, so a training that goes on has it from its checkpoint.
    """

    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(ramp(decay, int(updates)))(averages, weights, updates)

    return update
