"""`nas data split` and `nas data show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.cli.main import main
from nas.data.coco import load_split
from nas.data.resize import read_rgb
from nas.data.split import split_folder
from nas.errors import DataError
from nas.ui.contact_sheet import contact_sheet
from nas.ui.draw import colour_of, draw_boxes


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
    (root / "b.json").write_text((root / "a.json").read_text())
    with pytest.raises(DataError, match=r"is needed to cut up; found a\.json, b\.json"):
        split_folder(root)


def test_split_accounts_for_every_image_and_box(make_folder: Callable[..., Path]) -> None:
    root = make_folder(20, json_path="all.json", folder="images")
    document = json.loads((root / "all.json").read_text())
    for name in ("3.png", "11.png"):
        (root / "images" / name).unlink()
    (root / "images/7.png").write_bytes(b"not a picture")
    document["annotations"][4]["image_id"] = 45.0
    document["annotations"][5]["image_id"] = "55"
    document["images"][6]["id"] = 65.0
    document["annotations"][8]["image_id"] = 999
    document["annotations"][9]["bbox"] = [1, 1, 0, 5]
    (root / "all.json").write_text(json.dumps(document))
    cut = split_folder(root)
    assert (cut.images, cut.train_images + cut.val_images) == (20, 17)
    assert (cut.boxes, cut.train_boxes + cut.val_boxes) == (20, 16)
    assert cut.left_out == (3, 4)
    kinds = sorted(problem.kind for problem in cut.problems if problem.left_out)
    assert kinds.count("missing image") == 2 and "unknown image" in kinds
    parts = [json.loads((root / name).read_text()) for name in ("train.json", "val.json")]
    ids = {row["id"] for part in parts for row in part["images"]}
    assert ids == {10 * k + 5 for k in range(20) if k not in (3, 7, 11)}
    assert all(type(row["image_id"]) is int for part in parts for row in part["annotations"])
    assert {row["image_id"] for part in parts for row in part["annotations"]} == ids - {85}


def test_split_prints_what_is_left_out(
    make_folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(10, json_path="all.json", folder="images")
    (root / "images/3.png").unlink()
    assert main(["data", "split", str(root)]) == 0
    printed = capfd.readouterr().out
    assert "all.json: missing image: " in printed and "3.png" in printed
    assert f"train.json: 8 images, 8 boxes\n{root}/val.json: 1 image, 1 box" in printed
    assert "left out: 1 image and 1 box of the 10 and 10" in printed
    whole = make_folder(10, json_path="all.json", folder="images", root=root.parent / "whole")
    assert main(["data", "split", str(whole)]) == 0
    assert f"nothing of {whole}/all.json is left out" in capfd.readouterr().out


def test_split_without_images_says_where_they_were_looked_for(
    make_folder: Callable[..., Path],
) -> None:
    root = make_folder(4, json_path="all.json", folder="somewhere")
    images = json.loads((root / "all.json").read_text())["images"]
    make_folder(
        0, json_path="all.json", root=root, images=[{**r, "file_name": "x/a.png"} for r in images]
    )
    with pytest.raises(DataError, match=r"none of its images can be used: 4 x missing image; the"):
        split_folder(root)
    assert sorted(path.name for path in root.iterdir()) == ["all.json", "somewhere"]


def test_split_is_refused_before_any_work_where_it_cannot_write(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(4, json_path="all.json", folder="images")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr("nas.data.split.read_annotations", pytest.fail)
    with pytest.raises(
        DataError, match=r"train\.json: cannot be written \(Read-only file system\)"
    ):
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
