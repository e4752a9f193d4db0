"""Pixels decoded as they are needed equal those of the cache."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.data import cache as cache_module
from nas.data.batches import EvalBatches, TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.decoding import DecodedPixels, is_cached, open_pixels
from nas.data.resize import ResizeRule
from nas.data.settings import DataSettings
from nas.errors import DataError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    return load_split(make_folder(7))


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_batches_are_those_of_the_cache(split: Split, tmp_path: Path, rule: ResizeRule) -> None:
    cached = PixelCache.open(split, 32, rule, tmp_path)
    decoded = DecodedPixels.of(split, 32, rule)
    options: dict[str, Any] = {"jitter": (0.5, 2.0), "iou_crop": True}
    for one, two in zip(
        TrainBatches(cached, split, 3, seed=1, **options).epoch(4),
        TrainBatches(decoded, split, 3, seed=1, workers=2, **options).epoch(4),
        strict=True,
    ):
        assert torch.equal(one.images, two.images) and torch.equal(one.boxes, two.boxes)
        assert torch.equal(one.labels, two.labels) and one.image_ids == two.image_ids
    for one, two in zip(EvalBatches(cached, split, 4), EvalBatches(decoded, split, 4), strict=True):
        assert torch.equal(one.images, two.images) and one.placements == two.placements


def test_the_settings_choose_and_decoding_writes_nothing(split: Split, tmp_path: Path) -> None:
    settings = DataSettings(pixels="decode", cache_dir=tmp_path / "cache")
    assert open_pixels(split, 32, "stretch", settings).read(np.array([0, 3])).shape == (
        2,
        32,
        32,
        3,
    )
    assert not is_cached(split, 32, "stretch", settings)
    assert not (tmp_path / "cache").exists()
    kept = DataSettings(cache_dir=tmp_path / "cache")
    assert isinstance(open_pixels(split, 32, "stretch", kept).pixels, np.memmap)
    assert is_cached(split, 32, "stretch", kept)


def test_what_cannot_be_decoded_is_named(split: Split) -> None:
    broken = split.images[2].path
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2\.png: cannot be decoded"):
        DecodedPixels.of(split, 32, "stretch").read(np.array([1, 2]))


def test_a_disk_too_small_for_the_cache_is_told_before_decoding(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cache_module.shutil, "disk_usage", lambda _: Usage(9, 0, 7 * 32 * 32 * 3 - 1)
    )
    monkeypatch.setattr(cache_module, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"needs 0\.0 GB .* data\.pixels=decode") as caught:
        PixelCache.open(split, 32, "letterbox", tmp_path)
    assert "\n" not in str(caught.value)
