"""Batches: what is in them, and that they depend on seed, epoch and step alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.data.batches import Batch, EvalBatches, TrainBatches, steps_an_epoch
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.errors import DataError


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    rows = [
        {
            "id": 100 * k + n,
            "image_id": 10 * k + 5,
            "category_id": 2 + 5 * (n % 2),
            "iscrowd": n == 3,
        }
        | {"bbox": [4 * n, 2 * n, 20, 10]}
        for k in range(10)
        for n in range(k % 5)
    ]
    return load_split(make_folder(10, annotations=rows))


@pytest.fixture
def cache(split: Split, tmp_path: Path) -> PixelCache:
    return PixelCache.open(split, 32, "letterbox", tmp_path)


def equal(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.boxes, other.boxes)
        and torch.equal(one.labels, other.labels)
        and one.image_ids == other.image_ids
    )


def test_eval_batches_by_hand(split: Split, cache: PixelCache) -> None:
    batches = EvalBatches(cache, split, 4)
    assert len(batches) == 3
    found = list(batches)
    assert [batch.image_ids for batch in found] == [[5, 15, 25, 35], [45, 55, 65, 75], [85, 95]]
    first = found[0]
    assert first.images.shape == (4, 3, 32, 32)
    assert first.images.dtype == torch.uint8
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    assert (first.images[2].permute(1, 2, 0).numpy() == cache.pixels[2]).all()
    assert first.boxes.dtype == torch.float32
    assert first.labels.dtype == torch.int64
    # 64x48 px at 32 px: all lengths are halved.
    assert first.labels.tolist() == [[0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 2, 1]]
    assert first.boxes[3].tolist() == [[0, 0, 10, 5], [2, 1, 12, 6], [4, 2, 14, 7]]
    assert first.boxes[1].tolist() == [[0, 0, 10, 5], [0] * 4, [0] * 4]
    assert (first.placements[0].scale_x, first.placements[0].scale_y) == (0.5, 0.5)
    # The fourth box of image 45 is a crowd: three are left.
    assert found[1].labels[0].tolist() == [1, 2, 1]


def test_an_epoch_shows_each_image_once(split: Split, cache: PixelCache) -> None:
    batches = TrainBatches(cache, split, 4, seed=0, last_batch="fill")
    assert len(batches) == 3
    for epoch in range(2):
        ids = [key for batch in batches.epoch(epoch) for key in batch.image_ids]
        assert sorted(ids[:10]) == [image.id for image in split.images]
        assert ids[10:] == ids[:2]  # the last batch is filled up with the first ones
    assert len(TrainBatches(cache, split, 4, seed=0)) == 2
    assert [len(b.image_ids) for b in TrainBatches(cache, split, 4, seed=0).epoch(0)] == [4, 4]


def test_images_without_boxes_may_be_left_out(split: Split, cache: PixelCache) -> None:
    # Images 5 and 55 of the ten have no box; the crowd of image 45 isn't its only one.
    batches = TrainBatches(cache, split, 4, seed=0, empty_images=False)
    ids = [key for batch in batches.epoch(0) for key in batch.image_ids]
    assert sorted(ids) == [15, 25, 35, 45, 65, 75, 85, 95]


@pytest.mark.parametrize(
    ("images", "batch", "drop", "fill"),
    [(118_287, 256, 462, 463), (117_266, 192, 610, 611), (10, 5, 2, 2), (3, 8, 1, 1)],
)
def test_steps_of_an_epoch(images: int, batch: int, drop: int, fill: int) -> None:
    assert steps_an_epoch(images, batch, "drop") == drop
    assert steps_an_epoch(images, batch, "fill") == fill


def test_less_than_one_batch_still_gives_one(split: Split, cache: PixelCache) -> None:
    batches = TrainBatches(cache, split, 64, seed=0)
    assert [len(batch.image_ids) for batch in batches.epoch(0)] == [10]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_step_can_be_resumed(split: Split, cache: PixelCache, workers: int) -> None:
    options = {"seed": 7, "jitter": (0.5, 2.0), "iou_crop": True, "last_batch": "fill"}
    whole = list(TrainBatches(cache, split, 2, **options).epoch(3))  # type: ignore[arg-type]
    for start in range(len(whole) + 1):
        batches = TrainBatches(cache, split, 2, workers=workers, **options)  # type: ignore[arg-type]
        rest = list(batches.epoch(3, start_step=start))
        assert len(rest) == len(whole) - start
        assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize("count", [2, 3])
def test_shares_put_together_are_the_batch(split: Split, cache: PixelCache, count: int) -> None:
    def batches(share: tuple[int, int]) -> list[Batch]:
        made = TrainBatches(cache, split, 4, seed=1, jitter=(0.5, 2.0), share=share)
        return list(made.epoch(2))

    parts = [batches((rank, count)) for rank in range(count)]
    for whole, *shares in zip(batches((0, 1)), *parts, strict=True):
        assert sorted(len(share.images) for share in shares) == {2: [2, 2], 3: [1, 1, 2]}[count]
        assert whole.image_ids == [number for share in shares for number in share.image_ids]
        for name in ("images", "boxes", "labels"):
            together = torch.cat([getattr(share, name) for share in shares])
            assert torch.equal(together, getattr(whole, name))


def test_more_workers_than_images_are_refused(split: Split, cache: PixelCache) -> None:
    with pytest.raises(DataError, match="a batch has 4 images, too few for 5 workers"):
        TrainBatches(cache, split, 4, seed=0, share=(0, 5))


def test_seeds_and_epochs_differ(split: Split, cache: PixelCache) -> None:
    first = [
        next(TrainBatches(cache, split, 8, seed=seed).epoch(epoch))
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(batch.image_ids) for batch in first}) == 3


_DIGEST = """
import hashlib, sys
from nas.data.batches import TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import load_split
split = load_split(sys.argv[1])
cache = PixelCache.open(split, 32, "letterbox", sys.argv[2])
digest = hashlib.sha256()
for batch in TrainBatches(cache, split, 3, seed=5, jitter=(0.8, 1.2)).epoch(2):
    digest.update(batch.images.numpy().tobytes() + batch.boxes.numpy().tobytes())
    digest.update(repr((batch.labels.tolist(), batch.image_ids)).encode())
print(digest.hexdigest())
"""


def test_processes_agree(split: Split, cache: PixelCache, tmp_path: Path) -> None:
    other = subprocess.run(
        [sys.executable, "-c", _DIGEST, str(split.root), str(tmp_path / "other")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.strip()
    digest = hashlib.sha256()
    for batch in TrainBatches(cache, split, 3, seed=5, jitter=(0.8, 1.2)).epoch(2):
        digest.update(batch.images.numpy().tobytes() + batch.boxes.numpy().tobytes())
        digest.update(repr((batch.labels.tolist(), batch.image_ids)).encode())
    assert other == digest.hexdigest()


def test_undecodable_images_are_left_out(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(3)
    broken = root / "train/1.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    split = load_split(root)
    cache = PixelCache.open(split, 32, "letterbox", tmp_path)
    assert [batch.image_ids for batch in EvalBatches(cache, split, 8)] == [[5, 25]]
    assert sorted(next(TrainBatches(cache, split, 8, seed=0).epoch(0)).image_ids) == [5, 25]


def test_a_cache_of_other_images_is_refused(split: Split, cache: PixelCache) -> None:
    with pytest.raises(DataError, match="holds other images than 'part'"):
        EvalBatches(cache, split.part("part", [0, 1]), 4)


def test_batches_do_not_share_memory_with_the_cache(split: Split, cache: PixelCache) -> None:
    before = np.array(cache.pixels)
    for batch in TrainBatches(cache, split, 4, seed=0, flip=False).epoch(0):
        batch.images.zero_()
    assert (cache.pixels == before).all()


@pytest.mark.parametrize("last_batch", ["drop", "fill"])
@pytest.mark.parametrize("batch_size", [2, 5, 64])
@pytest.mark.parametrize("annotations", ["none but one", "crowds but one"])
def test_images_without_boxes_and_batches_larger_than_the_split(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    last_batch: Any,
    batch_size: int,
    annotations: str,
) -> None:
    """Every batch is whole, or all of the split, whatever its images have."""
    crowds = [
        {"id": k, "image_id": 10 * k + 5, "category_id": 2, "bbox": [1, 1, 30, 30], "iscrowd": 1}
        for k in range(1, 7)
    ]
    boxes = [{"id": 9, "image_id": 5, "category_id": 2, "bbox": [1, 1, 30, 30]}]
    rows = boxes + (crowds if annotations == "crowds but one" else [])
    loaded = load_split(make_folder(7, annotations=rows))
    pixels = PixelCache.open(loaded, 32, "letterbox", tmp_path)
    options: dict[str, Any] = {"jitter": (0.5, 2.0), "iou_crop": True, "last_batch": last_batch}
    batches = TrainBatches(pixels, loaded, batch_size, seed=0, **options)
    shown = list(batches.epoch(0))
    assert [len(batch.images) for batch in shown] == [min(batch_size, 7)] * len(batches)
    assert batches.images == min(batch_size, 7)
    assert sum(int((batch.labels > 0).sum()) for batch in shown) <= len(batches)
