"""Built-in scenes: what is promised of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nas.data.check import check
from nas.data.coco import Split, load_split
from nas.data.resize import read_rgb
from nas.data.scenes import scenes_folder, write_scenes
from nas.data.settings import DataSettings
from nas.errors import DataError

Name = Literal["easy", "hard"]

GOLDEN = {
    "easy": "ab8b6952d6da6b5c",
    "hard": "92fd3d963db761ff",
}


def sides(split: Split) -> np.ndarray:
    boxes = np.concatenate([image.boxes for image in split.images])
    return np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_annotations_are_the_same_everywhere(tmp_path: Path, name: Name) -> None:
    root = write_scenes(tmp_path / "a", seed=3, images=10, difficulty=name)
    text = (root / "train.json").read_bytes() + (root / "val.json").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == GOLDEN[name]
    other = write_scenes(tmp_path / "b", seed=4, images=10, difficulty=name)
    assert (other / "train.json").read_bytes() != (root / "train.json").read_bytes()


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("scenes")
    return {
        "easy": write_scenes(root / "easy", images=100, difficulty="easy"),
        "hard": write_scenes(root / "hard", images=30, difficulty="hard"),
    }


@pytest.mark.parametrize(("name", "train_images", "classes"), [("easy", 80, 3), ("hard", 24, 10)])
def test_box_sizes_cover_a_sixteen_fold_range(
    roots: dict[str, Path], name: str, train_images: int, classes: int
) -> None:
    train = load_split(roots[name])
    assert sides(train).max() >= 16 * sides(train).min()
    assert len(train.categories) == classes
    present = {int(label) for image in train.images for label in image.labels}
    assert present == {*range(1, classes + 1)}
    val = load_split(roots[name], "val", categories=train.categories)
    assert (len(train), len(val)) == (train_images, train_images // 4)
    assert check(roots[name]).ok


def test_easy_scenes_are_mostly_large(roots: dict[str, Path]) -> None:
    split = load_split(roots["easy"])
    assert np.median(sides(split)) > 192 / 4
    assert {(image.width, image.height) for image in split.images} == {(192, 192)}


def test_boxes_fit_what_is_seen(roots: dict[str, Path]) -> None:
    """Bright colours reach from side to side of the box of a lone object, and not beyond."""
    filled = []
    for image in load_split(roots["easy"]).images:
        if len(image.boxes) != 1:
            continue
        colourful = np.ptp(read_rgb(image.path).astype(int), axis=2) > 100
        left, top, right, bottom = image.boxes[0].astype(int)
        inside = colourful[top:bottom, left:right]
        assert colourful.sum() - inside.sum() < 0.01 * colourful.size
        filled.append(min(inside.any(axis=0).mean(), inside.any(axis=1).mean()))
    assert len(filled) > 10
    assert np.median(filled) > 0.9  # dark stripes along a side count as ground


def test_scenes_of_settings_are_written_once(tmp_path: Path) -> None:
    settings = DataSettings(scene_images=10, cache_dir=tmp_path)
    calls: list[tuple[int, int]] = []
    root = scenes_folder(settings, progress=lambda *done: calls.append(done))
    assert calls[-1] == (10, 10)
    before = (root / "train.json").stat().st_mtime_ns
    assert scenes_folder(settings) == root
    assert (root / "train.json").stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / "scenes").iterdir()] == [root.name]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_scenes(tmp_path, images=10)
    with pytest.raises(DataError, match="already holds annotations"):
        write_scenes(tmp_path, images=10)
