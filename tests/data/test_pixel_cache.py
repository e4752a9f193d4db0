"""The pixel cache: right pixels, made once, never half."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data import cache as cache_module
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.resize import read_rgb, resize
from nas.data.settings import cache_directory
from nas.errors import DataError


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    return load_split(make_folder(6))


def test_pixels_are_those_of_resize(split: Split, tmp_path: Path) -> None:
    cache = PixelCache.open(split, 32, "letterbox", tmp_path / "cache")
    assert cache.pixels.shape == (6, 32, 32, 3)
    for position, image in enumerate(split.images):
        square, place = resize(read_rgb(image.path), 32, "letterbox")
        assert (cache.pixels[position] == square).all()
        assert cache.placements[position] == place
    assert cache.usable.all()


def test_it_is_made_once(split: Split, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    for _ in range(2):
        cache = PixelCache.open(
            split, 32, "letterbox", tmp_path, progress=lambda *done: calls.append(done)
        )
    assert calls == [(6, 6)]
    assert isinstance(cache.pixels, np.memmap)
    assert not cache.pixels.flags.writeable


def test_size_rule_and_images_have_their_own_files(split: Split, tmp_path: Path) -> None:
    paths = {
        PixelCache.open(part, size, rule, tmp_path).path
        for part in (split, split.part("part", [0, 1]))
        for size in (16, 32)
        for rule in ("letterbox", "stretch")
    }
    assert len(paths) == 8


@pytest.mark.parametrize("length", [0, 50, 2000])
def test_half_written_files_are_made_again(split: Split, tmp_path: Path, length: int) -> None:
    cache = PixelCache.open(split, 32, "stretch", tmp_path)
    path, pixels = cache.path, np.array(cache.pixels)
    path.write_bytes(path.read_bytes()[:length])
    assert (PixelCache.open(split, 32, "stretch", tmp_path).pixels == pixels).all()
    path.with_suffix(".json").unlink()
    assert (PixelCache.open(split, 32, "stretch", tmp_path).pixels == pixels).all()


def test_a_writer_that_dies_leaves_nothing_behind(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left on device.*SPINENAS_CACHE") as caught:
            PixelCache.open(split, 32, "letterbox", tmp_path)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "pixels").iterdir()) == []
    assert PixelCache.open(split, 32, "letterbox", tmp_path).usable.all()


def test_leftovers_of_killed_writers_are_removed(split: Split, tmp_path: Path) -> None:
    (tmp_path / "pixels").mkdir()
    old, new = tmp_path / "pixels/.a.1.part", tmp_path / "pixels/.b.2.part"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    PixelCache.open(split, 32, "letterbox", tmp_path)
    assert not old.exists()
    assert new.exists()


def _open(split: Split, root: Path, start: Any) -> None:
    start.wait()
    PixelCache.open(split, 32, "letterbox", root)


def test_writers_may_be_at_it_at_once(split: Split, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Event()
    writers = [context.Process(target=_open, args=(split, tmp_path, start)) for _ in range(3)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert len(list((tmp_path / "pixels").glob("*.npy"))) == 1
    assert not list((tmp_path / "pixels").glob(".*"))
    assert PixelCache.open(split, 32, "letterbox", tmp_path).usable.all()


def test_truncated_images_are_marked(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(3)
    broken = root / "train/1.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    split = load_split(root)
    for _ in range(2):
        cache = PixelCache.open(split, 32, "letterbox", tmp_path)
        assert cache.usable.tolist() == [True, False, True]
        assert not cache.pixels[1].any()
    with pytest.raises(DataError, match="none of 1 images can be decoded"):
        PixelCache.open(split.part("broken", [1]), 32, "letterbox", tmp_path)


def test_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINENAS_CACHE", "/somewhere")
    assert cache_directory() == Path("/somewhere")
    assert cache_directory("/given") == Path("/given")
    monkeypatch.delenv("SPINENAS_CACHE")
    assert cache_directory() == Path.home() / ".cache/spinenas"
