"""How many images a batch norm sees at least, and batches that leave it one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.data.cache import PixelCache
from nas.data.coco import load_split
from nas.data.scenes import write_scenes
from nas.errors import DataError
from nas.training.batches import recipe_batches, smallest_part
from nas.training.recipes import resolve


@pytest.mark.parametrize(
    ("images", "micro_batch", "workers", "least"),
    [
        (8, None, 1, 8),
        (8, None, 2, 4),
        (7, None, 2, 3),
        (5, 2, 1, 1),  # 1, 2 and 2 at once
        (6, 4, 1, 3),
        (7, 4, 2, 3),
        (1, None, 1, 1),
    ],
)
def test_by_hand(images: int, micro_batch: int | None, workers: int, least: int) -> None:
    assert smallest_part(images, micro_batch, workers) == least


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 5, "micro_batch": 2}, "leaves one image at a time"),
        ({"batch_size": 64, "micro_batch": 3}, ""),  # the split's 8 images: 2, 3 and 3
        ({"batch_size": 5, "micro_batch": 2, "freeze_bn": True}, ""),
    ],
)
def test_a_lone_image_is_refused_before_the_training(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    split = load_split(write_scenes(tmp_path / "scenes", images=10), "train")
    assert len(split) == 8
    pixels = PixelCache.open(split, 64, "letterbox", tmp_path)
    recipe = resolve("trial", {"epochs": 1, "bn_batches": 0, **changes})
    if not message:
        assert recipe_batches(recipe, pixels, split, 0)
        return
    with pytest.raises(DataError, match=message):
        recipe_batches(recipe, pixels, split, 0)


def test_one_image_is_refused(tmp_path: Path) -> None:
    split = load_split(write_scenes(tmp_path / "scenes", images=10), "train").part("one", [0])
    pixels = PixelCache.open(split, 64, "letterbox", tmp_path)
    with pytest.raises(DataError, match="1 image to train on, and batch norm needs at least 2"):
        recipe_batches(resolve("trial", {"epochs": 1}), pixels, split, 0)
