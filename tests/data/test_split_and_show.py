"""`nas data split` and `nas data show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.data.coco import load_split
from nas.data.draw import colour_of, draw_boxes
from nas.data.resize import read_rgb
from nas.data.show import contact_sheet
from nas.data.split import split_folder
from nas.errors import DataError


@pytest.mark.parametrize(
    ("json_path", "folder"),
    [
        ("annotations.json", "images"),
        ("all.json", "."),
        ("annotations/instances_default.json", "images"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_one_file_becomes_two(
    make_folder: Callable[..., Path], json_path: str, folder: str
) -> None:
    root = make_folder(100, json_path=json_path, folder=folder)
    before = (root / json_path).read_bytes()
    cut = split_folder(root, val=0.3)
    assert (cut.train_images, cut.val_images) == (70, 30)
    train = load_split(root)
    val = load_split(root, "val", categories=train.categories)
    ids = [[image.id for image in split.images] for split in (train, val)]
    assert (len(ids[0]), len(ids[1])) == (70, 30)
    assert sorted(ids[0] + ids[1]) == [10 * k + 5 for k in range(100)]
    assert (np.diff(ids[1]) > 10).sum() <= 2  # three blocks of ten
    assert sum(len(image.boxes) for split in (train, val) for image in split.images) == 100
    assert (root / json_path).read_bytes() == before


def test_other_keys_are_kept(make_folder: Callable[..., Path]) -> None:
    root = make_folder(20, json_path="all.json", licenses=[{"id": 1}])
    document = json.loads((root / "all.json").read_text())
    document["images"][0]["license"] = 1
    (root / "all.json").write_text(json.dumps(document))
    (root / "train").rename(root / "images")
    split_folder(root)
    parts = [json.loads((root / name).read_text()) for name in ("train.json", "val.json")]
    assert all(part["licenses"] == [{"id": 1}] for part in parts)
    assert sum("license" in row for part in parts for row in part["images"]) == 1


def test_split_refuses_what_it_cannot_do(make_folder: Callable[..., Path]) -> None:
    root = make_folder(10)
    with pytest.raises(DataError, match=r"train\.json: exists already"):
        split_folder(root)
    (root / "train.json").rename(root / "a.json")
    with pytest.raises(DataError, match=r"val 1\.5 is not a share"):
        split_folder(root, val=1.5)
    (root / "b.json").write_text("{}")
    with pytest.raises(DataError, match=r"is needed to cut up; found a\.json, b\.json"):
        split_folder(root)


def test_draw_boxes_by_hand() -> None:
    drawn = draw_boxes(
        np.zeros((100, 100, 3), dtype=np.uint8), np.array([[20, 40, 60, 90]]), ["nut"], [1]
    )
    colour = list(colour_of(1))
    for x, y in ((20, 60), (59, 60), (40, 89)):
        assert drawn[y, x].tolist() == colour
    assert not drawn[60, 61:].any()
    assert not drawn[50:80, 30:50].any()
    assert len({colour_of(label) for label in range(1, 91)}) == 90


def test_contact_sheet(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    split = load_split(make_folder(7))
    path = contact_sheet(split, tmp_path / "out/sheet.png", images=5, columns=3, tile=80)
    sheet = read_rgb(path)
    assert sheet.shape == (160, 240, 3)
    assert (sheet == colour_of(1)).all(axis=2).any()
    again = contact_sheet(split, tmp_path / "again.png", images=5, columns=3, tile=80)
    assert (read_rgb(again) == sheet).all()
