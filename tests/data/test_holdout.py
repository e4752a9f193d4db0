"""The hold-out and subsets of a split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.data.coco import Split, load_split
from nas.data.holdout import holdout, natural_order, subset
from nas.data.settings import DataSettings
from nas.errors import DataError


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    return load_split(make_folder(200))


def positions(part: Split) -> np.ndarray:
    return np.array([(image.id - 5) // 10 for image in part.images])


def test_parts_are_disjoint_and_complete(split: Split) -> None:
    fit, held = holdout(split, DataSettings(holdout=0.2), seed=3)
    assert sorted([*positions(fit), *positions(held)]) == list(range(200))
    assert len(held) == 40
    assert (np.diff(positions(fit)) > 0).all()
    assert len({split.fingerprint, fit.fingerprint, held.fingerprint}) == 3


def test_blocks_are_contiguous(split: Split) -> None:
    _, held = holdout(split, DataSettings(holdout=0.2), seed=3)
    runs = np.split(positions(held), np.flatnonzero(np.diff(positions(held)) > 1) + 1)
    assert len(runs) <= 5  # of at least 8 images each
    _, held = holdout(split, DataSettings(holdout=0.2, holdout_blocks=1), seed=3)
    assert (np.diff(positions(held)) == 1).all()


def test_blocks_follow_file_names_rather_than_the_file_order(
    make_folder: Callable[..., Path],
) -> None:
    shuffled = np.random.default_rng(0).permutation(100).tolist()
    images = [{"id": 10 * k + 5, "file_name": f"{k}.png"} for k in shuffled]
    split = load_split(make_folder(100, images=images))
    _, held = holdout(split, DataSettings(holdout_blocks=1), seed=0)
    assert (np.diff(np.sort(positions(held))) == 1).all()


def test_same_seed_same_parts(split: Split) -> None:
    draws = [holdout(split, DataSettings(), seed)[1].fingerprint for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_single_images_are_spread(split: Split) -> None:
    _, held = holdout(split, DataSettings(holdout=0.3, holdout_by="images"), seed=0)
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
        for part in holdout(split, DataSettings(), seed):
            assert {int(image.labels[0]) for image in part.images} == {1, 2}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_both_sides_have_images(make_folder: Callable[..., Path], share: float) -> None:
    split = load_split(make_folder(3))
    fit, held = holdout(split, DataSettings(holdout=share), seed=0)
    assert len(fit) >= 1
    assert len(held) >= 1
    with pytest.raises(DataError, match="1 image cannot be cut"):
        holdout(split.part("one", [0]), DataSettings(), seed=0)


def test_subset(split: Split) -> None:
    some = subset(split, 50, seed=1)
    assert len(some) == 50
    assert (np.diff(positions(some)) > 0).all()
    assert some.fingerprint == subset(split, 50, seed=1).fingerprint
    assert some.fingerprint != subset(split, 50, seed=2).fingerprint
    assert subset(split, None, seed=1) is split
    assert subset(split, 1000, seed=1) is split


def test_natural_order() -> None:
    names = ["b/10.jpg", "b/2.jpg", "a/100.jpg", "b/x.jpg"]
    assert natural_order(names).tolist() == [2, 1, 0, 3]
