"""Splits cut in two, by blocks of neighbouring files or one by one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.coco import Split, load_split
from nas.data.photo_blocks import divide, natural_order
from nas.errors import DataError


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    return load_split(make_folder(200))


def positions(part: Split) -> np.ndarray:
    return np.array([(image.id - 5) // 10 for image in part.images])


def test_parts_are_disjoint_and_complete(split: Split) -> None:
    fit, held = divide(split, 0.2, seed=3)
    assert sorted([*positions(fit), *positions(held)]) == list(range(200))
    assert len(held) == 40
    assert (np.diff(positions(fit)) > 0).all()
    assert len({split.fingerprint, fit.fingerprint, held.fingerprint}) == 3


def test_blocks_are_contiguous(split: Split) -> None:
    _, held = divide(split, 0.2, seed=3)
    runs = np.split(positions(held), np.flatnonzero(np.diff(positions(held)) > 1) + 1)
    assert len(runs) <= 5  # of at least 8 images each
    _, held = divide(split, 0.2, seed=3, blocks=1)
    assert (np.diff(positions(held)) == 1).all()


def test_blocks_follow_file_names_rather_than_the_file_order(
    make_folder: Callable[..., Path],
) -> None:
    shuffled = np.random.default_rng(0).permutation(100).tolist()
    images = [{"id": 10 * k + 5, "file_name": f"{k}.png"} for k in shuffled]
    split = load_split(make_folder(100, images=images))
    _, held = divide(split, 0.1, seed=0, blocks=1)
    assert (np.diff(np.sort(positions(held))) == 1).all()


def test_same_seed_same_parts(split: Split) -> None:
    draws = [divide(split, 0.1, seed)[1].fingerprint for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_single_images_are_spread(split: Split) -> None:
    _, held = divide(split, 0.3, seed=0, by="images")
    assert len(held) == 60
    assert (np.diff(positions(held)) > 1).sum() > 25


def test_rare_classes_stand_on_both_sides(make_folder: Callable[..., Path]) -> None:
    rows = [
        {
            "id": k + 1,
            "image_id": 10 * k + 5,
            "category_id": 7 if k < 16 else 2,
            "bbox": [0, 0, 9, 9],
        }
        for k in range(200)
    ]
    split = load_split(make_folder(200, annotations=rows))
    for seed in range(5):
        for part in divide(split, 0.1, seed):
            assert {int(image.labels[0]) for image in part.images} == {1, 2}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_both_sides_have_images(make_folder: Callable[..., Path], share: float) -> None:
    split = load_split(make_folder(3))
    fit, held = divide(split, share, seed=0)
    assert len(fit) >= 1
    assert len(held) >= 1
    with pytest.raises(DataError, match="1 image cannot be cut"):
        divide(split.part("one", [0]), 0.1, seed=0)


GOLDEN = {  # drawn before copies were looked for; the pictures are all different
    ("blocks", 0): [*range(28, 36)],
    ("blocks", 3): [*range(26, 34)],
    ("images", 0): [2, 3, 4, 11, 23, 24, 27, 34],
    ("images", 3): [2, 11, 17, 20, 23, 30, 32, 33],
}


@pytest.mark.parametrize(("by", "seed"), GOLDEN)
def test_holdouts_of_different_pictures_are_as_they_were(
    make_folder: Callable[..., Path], by: Any, seed: int
) -> None:
    split = load_split(make_folder(40))
    _, held = divide(split, 0.2, seed, by=by)
    assert positions(held).tolist() == GOLDEN[by, seed]


def with_copies(make_folder: Callable[..., Path], number: int) -> Split:
    """Pictures 0 to `number` - 1, and a copy of each in reversed order of names."""
    names = [f"{k}.png" for k in range(number)] + [f"copy {number - k}.png" for k in range(number)]
    images = [{"id": 10 * k + 5, "file_name": name} for k, name in enumerate(names)]
    rows = [
        {"id": k + 1, "image_id": 10 * k + 5, "category_id": 2, "bbox": [0, 0, 9, 9]}
        for k in range(2 * number)
    ]
    root = make_folder(number, images=images, annotations=rows)
    for k in range(number):
        shutil.copy(root / f"train/{k}.png", root / f"train/copy {number - k}.png")
    return load_split(root)


@pytest.mark.parametrize("by", ["blocks", "images"])
def test_copies_stand_on_one_side(make_folder: Callable[..., Path], by: Any) -> None:
    split = with_copies(make_folder, 6)
    for seed in range(5):
        fit, held = divide(split, 0.3, seed, by=by)
        contents = [{image.path.read_bytes() for image in part.images} for part in (fit, held)]
        assert not contents[0] & contents[1]
        assert (len(fit), len(held)) == (8, 4)  # 2 of the 6 pictures, each with its copy


def test_a_file_under_two_rows_stands_on_one_side(make_folder: Callable[..., Path]) -> None:
    images = [{"id": 10 * k + 5, "file_name": f"{k % 4}.png"} for k in range(8)]
    split = load_split(make_folder(4, images=images))
    fit, held = divide(split, 0.1, 0, by="images")
    assert {i.path for i in fit.images}.isdisjoint(i.path for i in held.images)
    assert len(held) == 2


def test_copies_of_one_picture_cannot_be_cut(make_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="2 images of the same content cannot be cut"):
        divide(with_copies(make_folder, 1), 0.1, 0)


def test_a_holdout_with_boxes_is_preferred(make_folder: Callable[..., Path]) -> None:
    """Each of two classes has one image, so that none can stand on both sides."""
    rows = [
        {"id": k, "image_id": 10 * k + 5, "category_id": (2, 7)[k % 2], "bbox": [0, 0, 9, 9]}
        for k in (8, 15)
    ]
    split = load_split(make_folder(20, annotations=rows))
    for seed in range(5):
        for part in divide(split, 0.25, seed):
            assert any(len(image.boxes) for image in part.images)


def test_natural_order() -> None:
    names = ["b/10.jpg", "b/2.jpg", "a/100.jpg", "b/x.jpg"]
    assert natural_order(names).tolist() == [2, 1, 0, 3]
