"""The batches that a recipe wants of a split."""

from __future__ import annotations

from nas.data.batches import TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import Split
from nas.training.settings import RecipeSettings


def recipe_batches(
    recipe: RecipeSettings,
    pixels: PixelCache,
    split: Split,
    seed: int,
    *,
    batch_size: int | None = None,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> TrainBatches:
    """Everything that a recipe says of how images are shown, in one place for all who train.

    Args:
        recipe: augmentation, batch, and what becomes of last batches and of empty images.
        pixels: of the split, at the input's size.
        split: boxes and labels.
        seed: of order and augmentation.
        batch_size: another than the recipe's.
        workers: threads that prepare batches ahead.
        share: which part of every batch is wanted; see `TrainBatches`.

    Raises:
        DataError: `pixels` hold other images than the split, or some part would have no image.
    """
    return TrainBatches(
        pixels,
        split,
        batch_size or recipe.batch_size,
        seed,
        flip=recipe.flip,
        jitter=recipe.jitter,
        iou_crop=recipe.iou_crop,
        last_batch=recipe.last_batch,
        empty_images=recipe.empty_images,
        workers=workers,
        share=share,
    )
