"""What a recipe requires of the data and of its workers; no torch, so that refusals are quick."""

from __future__ import annotations

from nas.data.rules import LEAST_IMAGES
from nas.errors import ConfigError
from nas.training.settings import RecipeSettings


def least_images(recipe: RecipeSettings) -> int:
    """Returns how many images a training needs at once."""
    return 1 if recipe.freeze_bn else LEAST_IMAGES


def check_workers(recipe: RecipeSettings, workers: int) -> None:
    """Refuses shares that the batch can't be divided into.

    Args:
        recipe: The training's settings, of which the sizes of batches count.
        workers: How many share each batch.

    Raises:
        ConfigError: Names the setting to change.
    """
    if recipe.batch_size % workers:
        near = recipe.batch_size // workers * workers or workers
        raise ConfigError(
            f"recipe.batch_size {recipe.batch_size} can't be shared by {workers} workers; "
            f"legal: a multiple of {workers}, such as {near}"
        )
    share = min(recipe.batch_size // workers, recipe.micro_batch or recipe.batch_size)
    if share < 2 and not recipe.freeze_bn:
        raise ConfigError(
            f"recipe.batch_size {recipe.batch_size} over {workers} workers and recipe.micro_batch "
            f"{recipe.micro_batch} leave one image at a time; batch norm needs at least 2, or "
            "recipe.freeze_bn"
        )
