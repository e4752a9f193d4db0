"""The batches that a recipe wants of a split."""

from __future__ import annotations

import math

from nas.data.batches import TrainBatches, part_of
from nas.data.cache import PixelCache
from nas.data.coco import Split
from nas.data.passes import by_passes, median_side
from nas.data.resize import ResizeRule
from nas.data.rules import lacking_to_train, refuse
from nas.data.settings import AugmentSettings
from nas.errors import DataError
from nas.training.requirements import least_images
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
        pixels: of the split, at `recipe.oversample` times the input's size.
        split: boxes and labels.
        seed: of order and augmentation.
        batch_size: another than the recipe's.
        workers: threads that prepare batches ahead.
        share: which part of every batch is wanted; see `TrainBatches`.

    Raises:
        DataError: `pixels` hold other images than the split, what can be decoded of it can't be
            trained on (`nas.data.rules`), or a batch norm would see a single image.
    """
    usable, least = pixels.decodable(split), least_images(recipe)
    refuse(lacking_to_train(usable, empty_images=recipe.empty_images, least=least))
    batches = TrainBatches(
        pixels,
        split,
        batch_size or recipe.batch_size,
        seed,
        flip=recipe.flip,
        jitter=recipe.jitter,
        iou_crop=recipe.iou_crop,
        augment=augmentation(recipe, split, pixels.size // recipe.oversample, pixels.rule),
        flip_vertical=recipe.flip_vertical,
        quarter_turns=recipe.quarter_turns,
        epochs=recipe.epochs,
        last_batch=recipe.last_batch,
        empty_images=recipe.empty_images,
        workers=workers,
        share=share,
    )
    alone = smallest_part(batches.images, recipe.micro_batch, share[1])
    if alone < least:
        raise DataError(
            f"{split.json_path}: a batch of {batches.images} images over {share[1]} workers in "
            f"micro-batches of {recipe.micro_batch or batches.images} leaves one image at a time, "
            "and batch norm needs at least 2; set another recipe.batch_size or "
            "recipe.micro_batch, or recipe.freeze_bn"
        )
    return batches


def augmentation(
    recipe: RecipeSettings, split: Split, size: int, rule: ResizeRule
) -> AugmentSettings | None:
    """Returns what is done to images besides what the published recipes do; None for nothing.

    Args:
        recipe: Its epochs are passes over the data.
        split: The training images.
        size: Side of the input in pixels.
        rule: How images are fitted into it.
    """
    if recipe.augment_by_passes:
        return by_passes(recipe.epochs, median_side(split, size, rule))
    return recipe.augment


def smallest_part(images: int, micro_batch: int | None, workers: int) -> int:
    """Returns how many images the smallest micro-batch of a batch has.

    Args:
        images: of the batch.
        micro_batch: images at once, at most; None for all of a worker's share.
        workers: that share the batch.
    """
    shares = [part_of(images, rank, workers) for rank in range(workers)]
    counts = {rows.stop - rows.start for rows in shares}
    return min(count // math.ceil(count / (micro_batch or count)) for count in counts)
