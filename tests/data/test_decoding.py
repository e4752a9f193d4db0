"""Pixels decoded as they are needed equal those of the cache."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from nas.data import cache as cache_module
from nas.data import decoding
from nas.data.batches import EvalBatches, TrainBatches
from nas.data.cache import PixelCache
from nas.data.check import check
from nas.data.coco import Split, load_split
from nas.data.decoding import DecodedPixels, decodable, is_cached, open_pixels
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


def test_the_settings_choose_and_decoding_writes_no_pixels(split: Split, tmp_path: Path) -> None:
    settings = DataSettings(pixels="decode", cache_dir=tmp_path / "cache")
    assert open_pixels(split, 32, "stretch", settings).read(np.array([0, 3])).shape == (
        2,
        32,
        32,
        3,
    )
    assert not is_cached(split, 32, "stretch", settings)
    assert not (tmp_path / "cache/pixels").exists()
    kept = DataSettings(cache_dir=tmp_path / "cache")
    assert isinstance(open_pixels(split, 32, "stretch", kept).pixels, np.memmap)
    assert is_cached(split, 32, "stretch", kept)


def test_what_cannot_be_decoded_is_named(split: Split) -> None:
    broken = split.images[2].path
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2\.png: cannot be decoded"):
        DecodedPixels.of(split, 32, "stretch").read(np.array([1, 2]))


@pytest.mark.parametrize("mode", ["cache", "decode"])
def test_what_cannot_be_decoded_is_left_out_and_counted(
    split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Any
) -> None:
    """In both ways of having pixels, at each opening, and with the boxes."""
    for position in (2, 5):
        broken = split.images[position].path
        broken.write_bytes(broken.read_bytes()[:-200])
    settings = DataSettings(pixels=mode, cache_dir=tmp_path / "cache")
    for _ in range(2):
        caplog.clear()
        opened = open_pixels(split, 32, "stretch", settings)
        assert opened.usable.tolist() == [True, True, False, True, True, False, True]
        (message,) = (record.getMessage() for record in caplog.records)
        assert "2 of the 7 images of train can't be decoded; they and their 2 boxes" in message
    assert [image.id for image in opened.decodable(split).images] == [5, 15, 35, 45, 65]
    assert {i for b in EvalBatches(opened, split, 4) for i in b.image_ids} == {5, 15, 35, 45, 65}
    batches = TrainBatches(opened, split, 5, seed=0)
    assert set(next(batches.epoch(0)).image_ids) == {5, 15, 35, 45, 65}


@pytest.mark.parametrize("mode", ["cache", "decode"])
def test_of_pictures_that_can_be_decoded_the_split_stays_itself(
    split: Split, tmp_path: Path, mode: Any
) -> None:
    settings = DataSettings(pixels=mode, cache_dir=tmp_path / "cache")
    assert open_pixels(split, 32, "stretch", settings).decodable(split) is split


@pytest.mark.parametrize("mode", ["cache", "decode"])
def test_none_that_can_be_decoded(split: Split, tmp_path: Path, mode: Any) -> None:
    for image in split.images:
        image.path.write_bytes(image.path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"train\.json: none of 7 images can be decoded; replace"):
        open_pixels(split, 32, "stretch", DataSettings(pixels=mode, cache_dir=tmp_path / "cache"))


def test_what_can_be_decoded_is_looked_for_once(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DataSettings(pixels="decode", cache_dir=tmp_path / "cache")
    open_pixels(split, 32, "stretch", settings)
    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("decoded again"))
    open_pixels(split, 64, "letterbox", settings)


def test_a_cache_folder_that_cannot_be_written_is_no_need_of_decoding(
    split: Split, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings = DataSettings(pixels="decode", cache_dir=tmp_path / "file")
    assert open_pixels(split, 32, "stretch", settings).usable.all()


def test_pictures_without_their_end_are_what_the_decoder_makes_of_them(
    make_folder: Callable[..., Path], write_picture: Callable[..., None], tmp_path: Path
) -> None:
    """One rule for all: usable where Pillow decodes it, in the cache as for the check."""
    names = {"0.jpg": 2, "1.jpg": 300, "2.png": 12, "3.png": 200}  # and bytes cut from the end
    images = [{"id": 10 * k + 5, "file_name": name} for k, name in enumerate(names)]
    root = make_folder(4, images=images)
    for name, cut in names.items():
        path = root / "train" / name
        write_picture(path, (64, 48), seed=cut)
        path.write_bytes(path.read_bytes()[:-cut])
    loaded = load_split(root)
    works = []
    for image in loaded.images:
        try:
            Pillow.open(image.path).load()
            works.append(True)
        except OSError:
            works.append(False)
    assert works[2:] == [True, False]  # the end of a PNG has nothing of the picture
    assert decodable(loaded.images).tolist() == works
    assert PixelCache.open(loaded, 32, "stretch", tmp_path).usable.tolist() == works
    truncated = [p for p in check(root).problems if p.kind == "undecodable image"]
    assert len(truncated) == works.count(False)


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
