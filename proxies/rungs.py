"""Rungs of reduced training: epochs at which trials of different lengths can be compared."""

from __future__ import annotations

from nas.errors import ConfigError
from nas.training.settings import RecipeSettings


def check_rungs(recipe: RecipeSettings, last: int) -> None:
    """Refuses a recipe in which a rung of a longer training isn't like a shorter one's.

    A trial that is stopped is compared with others at the same epoch. That is fair only if neither
    its learning rates nor its augmentation up to there depend on the number of epochs.

    Args:
        recipe: Of a trial.
        last: The last rung, in epochs.

    Raises:
        ConfigError: if one of them does, or a rung isn't before the trial's end.
    """
    if last >= recipe.epochs:
        raise ConfigError(
            f"stopping.rungs has {last}, and a trial ends after proxy.recipe.epochs = "
            f"{recipe.epochs}; take earlier rungs, or more epochs"
        )
    if recipe.augment_by_passes or (recipe.augment is not None and recipe.augment.mosaic):
        raise ConfigError(
            "stopping: augmentation before a rung depends on the number of epochs; write "
            "proxy.recipe.augment without mosaic instead of augment_by_passes"
        )
    decays = max(recipe.decay_before_end, default=0) if recipe.schedule == "step" else 0
    if recipe.schedule not in ("constant", "step") or recipe.epochs - decays < last:
        raise ConfigError(
            f"stopping: the rates of proxy.recipe.schedule {recipe.schedule!r} before rung {last} "
            "depend on the number of epochs; take schedule constant, or step with decays after it"
        )
