"""What a folder must have to be searched on, trained on and judged on: one set of rules for all.

`nas data check` lists what a rule forbids; `search`, `train` and `eval` refuse it before any work.
Each rule returns its message, or None where the data comply.
"""

from __future__ import annotations

import numpy as np

from nas.data.coco import Category, Split, without_boxes
from nas.data.duplicates import identical_files
from nas.errors import DataError

LEAST_IMAGES = 2
"""Of a training: batch norm has no variance of one image."""


def refuse(*messages: str | None) -> None:
    """Refuses data that a rule forbids.

    Raises:
        DataError: The first message.
    """
    for message in messages:
        if message is not None:
            raise DataError(message)


def lacking_to_judge(judged: Split) -> str | None:
    """Returns why detections on a split can't be judged.

    Args:
        judged: What can be decoded of `val`.
    """
    if judged.boxes:
        return None
    return without_boxes(judged, ": nothing to judge on; annotate some, or replace its images")


def lacking_to_train(
    split: Split, *, empty_images: bool = True, least: int = LEAST_IMAGES
) -> str | None:
    """Returns why nothing can be trained on a split.

    Args:
        split: What can be decoded of the training images.
        empty_images: Whether images without a box are shown.
        least: Images that a training needs.
    """
    if not split.boxes:
        return without_boxes(split, ": nothing to learn; annotate some, or replace its images")
    shown = sum(empty_images or not image.crowd.all() for image in split.images)
    if shown < least:
        images = "1 image" if shown == 1 else f"{shown} images"
        return (
            f"{split.json_path}: {images} to train on, and batch norm needs at least {least}; "
            "add images"
        )
    return None


def lacking_to_search(
    training: Split, scoring: Split, *, empty_images: bool = True, least: int = LEAST_IMAGES
) -> str | None:
    """Returns why trials can't be trained on one part of `train` and judged on the other.

    Args:
        training: The training part, or what can be decoded of it.
        scoring: The hold-out, likewise.
        empty_images: Whether images without a box are shown.
        least: Images that a training needs.
    """
    if not (scoring.boxes and training.boxes):
        lacking, part, use, share = (
            (training, "training part", "learn", "smaller")
            if scoring.boxes
            else (scoring, "hold-out", "be judged on", "larger")
        )
        remedy = f"set data.holdout to a {share} share, data.holdout_by=images or another seed"
        if sum(not image.crowd.all() for image in (*training.images, *scoring.images)) < 2:
            remedy = "one image alone has boxes, and it can't be on both sides: annotate others"
        return without_boxes(lacking, f" of the {part}, so trials have nothing to {use}; {remedy}")
    shown = sum(empty_images or not image.crowd.all() for image in training.images)
    if shown < least:
        images = "1 image is" if shown == 1 else f"{shown} images are"
        return (
            f"{training.json_path}: beside a hold-out of {len(scoring)}, {images} left to train "
            f"on, and batch norm needs at least {least}; add images, or raise proxy.images"
        )
    return None


def not_learnt(train: Split, val: Split) -> list[Category]:
    """Returns the classes that have boxes in `val` alone: each counts there as an AP of 0."""
    learnt, judged = (
        {label for image in split.images for label in image.labels[~image.crowd].tolist()}
        for split in (train, val)
    )
    return [train.categories[label - 1] for label in sorted(judged - learnt)]


def repeated_pictures(train: Split, val: Split | None = None) -> list[str]:
    """Returns notes on images with the file content of another.

    Args:
        train: Where each image that repeats one before it is counted.
        val: Where images are counted that are in `train` too; None where there is no `val`.
    """
    images = [*train.images, *(val.images if val else ())]
    leaders = identical_files([image.path for image in images])
    repeats = int((leaders[: len(train)] != np.arange(len(train))).sum())
    shared = int((leaders[len(train) :] < len(train)).sum())
    notes = []
    if repeats:
        notes.append(
            f"{train.json_path}: {repeats} of {len(train)} images have the same content as "
            "another, and count as often as they are there; a hold-out keeps them on one side"
        )
    if val and shared:
        notes.append(
            f"{val.json_path}: {shared} of {len(val)} images are in train too: the numbers on val "
            "are of pictures that were trained on"
        )
    return notes
