"""Thumbnails and their distances, on pictures whose distance is worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from nas.data.coco import Category, Image, Split
from nas.data.near_duplicates import Thumbnails, is_in_order_of_time, near_duplicates
from nas.data.resize import read_thumbnail
from nas.errors import DataError


def split_of(root: Path, pictures: Sequence[np.ndarray | None]) -> Split:
    """One photo for each grey square, without boxes; None is a file that is no picture."""
    images = []
    nothing = np.zeros(0, dtype=np.int64)
    for k, picture in enumerate(pictures):
        path = root / f"{k}.png"
        if picture is None:
            path.write_text("no picture")
        else:
            Pillow.fromarray(picture).save(path)
        boxes = np.zeros((0, 4), dtype=np.float32)
        crowd, areas = np.zeros(0, dtype=bool), np.zeros(0, dtype=np.float32)
        images.append(Image(k, path, 16, 16, boxes, nothing, crowd, areas, nothing))
    return Split("train", root, tuple(images), (Category(1, "bolt"),), "f", root / "train.json")


def half(left: int, right: int) -> np.ndarray:
    """Two grey levels side by side: their variance is a quarter of the squared difference."""
    square = np.full((16, 16), left, dtype=np.uint8)
    square[:, 8:] = right
    return square


def test_distance_is_relative_to_contrast(tmp_path: Path) -> None:
    pictures = [half(100, 120), half(110, 130), half(120, 100), half(0, 200), None]
    thumbnails = Thumbnails(split_of(tmp_path, pictures))
    thumbnails.read(np.arange(5))
    distances = thumbnails.distances(0, np.arange(5))
    # Variances are 100, 100, 100 and 10,000, and 1 is added for noise.
    expected = [0, 10 / 101**0.5, 20 / 101**0.5, (8200 / (5050 + 1)) ** 0.5, np.inf]
    assert distances == pytest.approx(expected)
    assert np.isinf(thumbnails.distances(4, np.arange(4))).all()


def test_photos_without_boxes_are_compared_too(tmp_path: Path) -> None:
    split = split_of(tmp_path, [half(0, 200), half(4, 200), half(200, 0), None])
    near = near_duplicates(split, Thumbnails(split), np.array([0]), np.array([1, 2, 3]))
    # Half of the pixels differ by 4; the variances are 10,000 and 98².
    assert near[0] == pytest.approx((8 / ((10_000 + 98**2) / 2 + 1)) ** 0.5)
    assert np.isinf(near[1:]).all()


def test_order_of_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wave = np.sin(np.linspace(0, 40, 400) ** 1.2)
    film = [np.tile(128 + 100 * wave[k : k + 16], (16, 1)).astype(np.uint8) for k in range(64)]
    split = split_of(tmp_path, film)
    assert is_in_order_of_time(Thumbnails(split), np.arange(64))
    assert not is_in_order_of_time(Thumbnails(split), rng.permutation(64))
    assert not is_in_order_of_time(Thumbnails(split), np.arange(31))  # too few to tell


@pytest.mark.parametrize("ending", ["jpg", "png", "gif"])
def test_a_thumbnail_is_the_mean_of_what_it_covers(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (4, 4), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    Pillow.fromarray(np.repeat(np.repeat(coarse, 64, 0), 96, 1)).save(path)
    difference = read_thumbnail(path, 4).astype(int) - coarse
    assert read_thumbnail(path, 4).shape == (4, 4)
    assert np.abs(difference).max() <= 2


def test_a_cut_jpeg_has_no_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be decoded .*; replace the file"):
        read_thumbnail(path, 16)
