"""Folders and file names as annotation tools write them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.data.check import check
from nas.data.coco import load_split
from nas.data.folder_layout import find_layout, find_whole
from nas.data.image_files import image_name
from nas.data.split import split_folder
from nas.errors import DataError

Maker = Callable[..., Path]

DIVIDED = {
    "CVAT project": {
        "train": ("annotations/instances_Train.json", "images/Train"),
        "val": ("annotations/instances_Validation.json", "images/Validation"),
    },
    "CVAT project in capitals": {
        "train": ("annotations/instances_TRAIN.json", "images/TRAIN"),
        "val": ("annotations/instances_VAL.json", "images/VAL"),
    },
    "CVAT tasks in folders": {
        "train": ("train/annotations/instances_default.json", "train/images/default"),
        "val": ("val/annotations/instances_default.json", "val/images/default"),
    },
    "FiftyOne": {
        "train": ("train/labels.json", "train/data"),
        "val": ("validation/labels.json", "validation/data"),
    },
    "FiftyOne with labels apart": {
        "train": ("labels/train.json", "data/train"),
        "val": ("labels/val.json", "data/val"),
    },
    "Label Studio": {
        "train": ("train/result.json", "train/images"),
        "val": ("valid/result.json", "valid/images"),
    },
    "X-AnyLabeling": {
        "train": ("annotations/instances_train.json", "images/train"),
        "val": ("annotations/instances_val.json", "images/val"),
    },
    "Roboflow": {
        "train": ("train/_annotations.coco.json", "train"),
        "val": ("valid/_annotations.coco.json", "valid"),
    },
    "LVIS": {
        "train": ("annotations/lvis_v1_train.json", "train2017"),
        "val": ("annotations/lvis_v1_val.json", "val2017"),
    },
    "LVIS in the root": {
        "train": ("lvis_v1_train.json", "images/train2017"),
        "val": ("lvis_v1_val.json", "images/val2017"),
    },
    "VIA": {
        "train": ("train/via_export_coco.json", "train"),
        "val": ("val/via_export_coco.json", "val"),
    },
    "one JSON file of any name": {
        "train": ("Training/parts.json", "Training"),
        "val": ("Validation/parts.json", "Validation"),
    },
}

WHOLE = {
    "CVAT task": ("annotations/instances_default.json", "images/default"),
    "FiftyOne": ("labels.json", "data"),
    "Label Studio": ("result.json", "images"),
    "VIA": ("via_export_coco.json", "."),
    "X-AnyLabeling": ("images/annotations.json", "images"),
    "Roboflow": ("train/_annotations.coco.json", "train"),
}


@pytest.mark.parametrize("tool", DIVIDED)
def test_divided_exports(make_folder: Maker, tool: str) -> None:
    for number, (json_path, folder) in enumerate(DIVIDED[tool].values()):
        root = make_folder(3 + number, json_path=json_path, folder=folder)
    for number, (split, (json_path, folder)) in enumerate(DIVIDED[tool].items()):
        loaded = load_split(root, split)  # type: ignore[arg-type]
        assert loaded.json_path == root / json_path
        expected = [root / folder / f"{k}.png" for k in range(3 + number)]
        assert [image.path for image in loaded.images] == expected
        assert sum(len(image.boxes) for image in loaded.images) == 3 + number


@pytest.mark.parametrize("tool", WHOLE)
def test_exports_of_one_file_are_divided(make_folder: Maker, tool: str) -> None:
    json_path, folder = WHOLE[tool]
    root = make_folder(10, json_path=json_path, folder=folder)
    cut = split_folder(root, val=0.3)
    assert (cut.train_images, cut.val_images) == (7, 3)
    assert cut.left_out == (0, 0)
    train, val = load_split(root), load_split(root, "val")
    paths = {image.path.resolve() for part in (train, val) for image in part.images}
    assert paths == {(root / folder / f"{k}.png").resolve() for k in range(10)}


def test_a_tools_other_files_are_not_its_export(make_folder: Maker) -> None:
    root = make_folder(4, json_path="result.json", folder="images")
    (root / "notes.json").write_text('{"categories": [], "info": {}}')
    (root / "via_project.json").write_text('{"_via_img_metadata": {}}')
    assert find_whole(root).json_path == root / "result.json"
    (root / "result2.json").write_text((root / "result.json").read_text())
    with pytest.raises(DataError, match=r"is needed to cut up; found result\.json, result2\.json"):
        find_whole(root)


def copies(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"images": [], "annotations": [], "categories": []}')


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("instances_valminusminival2014", "instances_val2014", "instances_minival2014"), 1),
        (("instances_val2014_debug", "instances_val2014"), 1),
        (("instances_val2014", "instances_val2017", "instances_val2017_small"), 1),
        (("person_keypoints_val2017", "captions_val2017", "instances_val2017"), 2),
        (("instances_val2017", "instances_valid2019"), 0),
        (("lvis_v0.5_val", "lvis_v1_val"), 1),
        (("instances_val2014_debug",), 0),
        (("instances_test2017", "instances_val2014"), 1),
    ],
)
def test_plain_names_win(tmp_path: Path, names: tuple[str, ...], chosen: int) -> None:
    copies(tmp_path, *(f"annotations/{name}.json" for name in names))
    assert find_layout(tmp_path, "val").json_path.stem == names[chosen]


@pytest.mark.parametrize(
    "names",
    [
        ("instances_valid2014", "instances_validation2014"),
        ("instances_minival2014", "instances_valminusminival2014"),
        ("instances_val2017_a", "instances_val2017_b"),
    ],
)
def test_none_is_chosen_among_equally_plain_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    copies(tmp_path, *(f"annotations/{name}.json" for name in names))
    listed = ", ".join(f"{name}.json" for name in names)
    with pytest.raises(DataError, match=f"annotations: {listed} could each be meant; keep one"):
        find_layout(tmp_path, "val")


def test_the_rest_without_minival_is_no_val(tmp_path: Path) -> None:
    copies(tmp_path, "annotations/instances_valminusminival2014.json")
    with pytest.raises(
        DataError, match=r"there is annotations/instances_valminusminival2014\.json"
    ):
        find_layout(tmp_path, "val")


def test_test_stands_in_for_val_with_a_note(
    make_folder: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(2, json_path="train/_annotations.coco.json", folder="train")
    root = make_folder(2, json_path="test/_annotations.coco.json", folder="test")
    assert find_layout(root, "val").json_path == root / "test/_annotations.coco.json"
    assert "_annotations.coco.json: taken for 'val', as there is no other" in caplog.text


def test_what_is_there_is_named(make_folder: Maker) -> None:
    root = make_folder(2, json_path="result.json", folder="images")
    with pytest.raises(DataError, match=r"there is result\.json; if it is for all images, `nas da"):
        find_layout(root, "train")


NFC, NFD = (unicodedata.normalize(form, "Größe 1.png") for form in ("NFC", "NFD"))

NAMES = {
    "Windows separators": ("train\\a.png", "train/a.png"),
    "Windows separators, two folders": ("images\\cam 1\\a.png", "images/cam 1/a.png"),
    "unpacked with Windows separators": ("cam/a.png", "train/cam\\a.png"),
    "composed for decomposed": (NFC, f"train/{NFD}"),
    "decomposed for composed": (NFD, f"train/{NFC}"),
    "URL-encoded": ("my%20photo%231.png", "train/my photo#1.png"),
    "URL-encoded on the disk": ("my photo.png", "train/my%20photo.png"),
    "percent sign": ("50%25.png", "train/50%25.png"),
    "ending in capitals": ("a.PNG", "train/a.png"),
    "folder in another case": ("Images/a.png", "images/a.png"),
    "dot in front": ("./a.png", "train/a.png"),
    "own folder repeated": ("images/train/a.png", "train/a.png"),
    "path of another machine": ("home/me/data/a.png", "train/a.png"),
    "path of another machine, two folders": ("mnt/x/cam1/a.png", "train/cam1/a.png"),
    "all of it": ("Export\\Images\\Gr%C3%B6%C3%9Fe 1.PNG", f"images/{NFD}"),
    "a folder below": ("a.png", "train/batch 1/a.png"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_as_tools_write_them(
    make_folder: Maker, write_picture: Callable[..., None], kind: str
) -> None:
    name, path = NAMES[kind]
    root = make_folder(1, images=[{"id": 5, "file_name": name}])
    write_picture(root / path, (64, 48))
    assert [image.path for image in load_split(root).images] == [root / path]


AMBIGUOUS: dict[str, tuple[str, list[str]]] = {
    "two in another case": ("a.png", ["train/A.png", "train/a.PNG"]),
    "two folders below": ("a.png", ["train/one/a.png", "train/two/a.png"]),
    "another camera's": ("cam2/a.png", ["train/cam1/a.png"]),
    "gone from a folder that is there": ("cam2/a.png", ["train/a.png", "train/cam2/b.png"]),
    "the other part's": ("a.png", ["val/a.png"]),
    "the other part's, by its folder": ("val/a.png", ["train/a.png"]),
    "another row's": ("elsewhere/0.png", []),
    "encoded way out": ("%2e%2e/outside.png", ["train/outside.png"]),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_a_name_is_never_read_as_another_file(
    make_folder: Maker, write_picture: Callable[..., None], kind: str
) -> None:
    name, paths = AMBIGUOUS[kind]
    images = [{"id": 5, "file_name": "0.png"}, {"id": 15, "file_name": name}]
    root = make_folder(1, images=images)
    for path in paths:
        write_picture(root / path, (64, 48))
    assert [image.id for image in load_split(root).images] == [5]


def test_of_two_in_another_case_the_one_spelt_so_is_taken(
    make_folder: Maker, write_picture: Callable[..., None]
) -> None:
    root = make_folder(1, images=[{"id": 5, "file_name": "cam\\a.png"}])
    for name in ("cam/a.png", "cam/A.png"):
        write_picture(root / "train" / name, (64, 48))
    assert load_split(root).images[0].path == root / "train/cam/a.png"


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"file_name": "a.png", "coco_url": "http://x.org/train2017/b.png"}, "a.png"),
        (
            {"coco_url": "http://images.x.org/train2017/000000391895.jpg"},
            "train2017/000000391895.jpg",
        ),
        ({"file_name": None, "coco_url": "http://x.org/b.png?size=1"}, "b.png"),
        ({"file_name": "", "coco_url": "http://[x/b.png"}, None),
        ({"file_name": 7}, None),
        ({}, None),
    ],
)
def test_the_name_of_a_row(row: dict[str, Any], name: str | None) -> None:
    assert image_name(row) == name


@pytest.mark.parametrize("folder", ["train2017", "images/train2017", "train"])
def test_lvis_names_its_pictures_by_url(make_folder: Maker, folder: str) -> None:
    images = [{"id": 5, "coco_url": "http://images.x.org/train2017/0.png"}]
    root = make_folder(1, json_path="lvis_v1_train.json", folder=folder, images=images)
    assert load_split(root).images[0].path == root / folder / "0.png"


def test_a_missing_image_says_where_it_was_looked_for(make_folder: Maker) -> None:
    images = [{"id": 10 * k + 5, "file_name": f"photo_{k:03}.png"} for k in range(30)]
    root = make_folder(0, images=[{"id": 5, "file_name": "0.png"}, *images[1:]])
    make_folder(1, root=root, images=[{"id": 5, "file_name": "0.png"}, *images[1:]])
    (root / "train/foto_001.png").write_bytes((root / "train/0.png").read_bytes())
    problems = [problem for problem in check(root).problems if problem.kind == "missing image"]
    assert len(problems) == 29
    assert problems[0].detail == "images[1]: looked in train/, ./; nearest is train/foto_001.png"
    assert problems[-1].detail == "images[29]: looked in train/, ./"


def test_files_that_fit_a_missing_image_are_named(
    make_folder: Maker, write_picture: Callable[..., None]
) -> None:
    images = [{"id": 5, "file_name": "0.png"}, {"id": 15, "file_name": "a.png"}]
    root = make_folder(1, images=images)
    for name in ("one/a.png", "two/a.png"):
        write_picture(root / "train" / name, (64, 48))
    [problem] = [p for p in check(root).problems if p.kind == "missing image"]
    assert problem.detail.endswith("2 files fit it: train/one/a.png, train/two/a.png")


def test_a_split_without_a_picture_says_where_they_were_looked_for(make_folder: Maker) -> None:
    root = make_folder(2, images=[{"id": 5, "file_name": "gone/a.png"}])
    with pytest.raises(DataError, match=r"none of its images can be used.*looked in train/, \./"):
        load_split(root)


def test_links_out_of_the_folder_are_not_found_by_likeness(
    make_folder: Maker, write_picture: Callable[..., None]
) -> None:
    root = make_folder(1, images=[{"id": 5, "file_name": "A.png"}])
    write_picture(root.parent / "outside.png", (64, 48))
    (root / "train/a.png").symlink_to(root.parent / "outside.png")
    with pytest.raises(DataError, match="is a symbolic link out of"):
        load_split(root)
    (root / "train/a.png").unlink()
    write_picture(root.parent / "elsewhere/a.png", (64, 48))
    (root / "train/more").symlink_to(root.parent / "elsewhere", target_is_directory=True)
    document = json.loads((root / "train.json").read_text())
    with pytest.raises(DataError, match="none of its images can be used"):
        load_split(root)
    document["images"][0]["file_name"] = "more/a.png"
    (root / "train.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="is a symbolic link out of"):
        load_split(root)
