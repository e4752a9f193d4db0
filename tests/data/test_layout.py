"""Layouts of data folders, and names that try to leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.data.coco import load_split
from nas.data.folder_layout import find_layout, read_json
from nas.errors import DataError


@pytest.mark.parametrize(
    ("split", "json_path", "folder"),
    [
        ("train", "train.json", "train"),
        ("val", "val.json", "val"),
        ("val", "valid.json", "valid"),
        ("train", "train.json", "images"),
        ("train", "annotations/instances_train2017.json", "train2017"),
        ("val", "annotations/instances_val2017.json", "val2017"),
        ("val", "annotations/instances_val2014.json", "images/val2014"),
        ("train", "train/_annotations.coco.json", "train"),
        ("val", "valid/_annotations.coco.json", "valid"),
    ],
)
def test_layouts_are_recognised(
    make_folder: Callable[..., Path], split: str, json_path: str, folder: str
) -> None:
    root = make_folder(2, json_path=json_path, folder=folder)
    loaded = load_split(root, split)  # type: ignore[arg-type]
    assert loaded.json_path == root / json_path
    assert [image.path for image in loaded.images] == [root / folder / f"{k}.png" for k in (0, 1)]


def test_names_may_start_from_the_root(make_folder: Callable[..., Path]) -> None:
    root = make_folder(1, images=[{"id": 5, "file_name": "train/0.png"}])
    assert load_split(root).images[0].path == root / "train/0.png"


def test_missing_split_names_what_was_looked_for(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no annotations for 'val'; looked for val\.json"):
        find_layout(make_folder(1), "val")
    with pytest.raises(DataError, match="no such data folder"):
        find_layout(tmp_path / "nowhere", "train")


@pytest.mark.parametrize(
    "name",
    ["../outside.png", "a/../../outside.png", "/etc/outside.png", r"..\outside.png", r"C:\o.png"],
)
def test_names_that_leave_the_folder_are_refused(
    make_folder: Callable[..., Path], write_picture: Callable[..., None], name: str
) -> None:
    root = make_folder(1, images=[{"id": 5, "file_name": name}])
    write_picture(root.parent / "outside.png", (64, 48))
    write_picture(root / "outside.png", (64, 48))
    with pytest.raises(DataError, match=r"is absolute or has '\.\.'"):
        load_split(root)


@pytest.mark.parametrize("name", ["none.png", "a" * 300, "a" * 300 + "/b", "0.png/b", "\ud800/b"])
def test_names_of_no_file_are_missing_images(make_folder: Callable[..., Path], name: str) -> None:
    images = [{"id": 5, "file_name": "0.png"}, {"id": 15, "file_name": name}]
    assert [image.id for image in load_split(make_folder(2, images=images)).images] == [5]


def test_links_that_lead_out_are_refused(
    make_folder: Callable[..., Path], write_picture: Callable[..., None]
) -> None:
    root = make_folder(2)
    write_picture(root.parent / "outside.png", (64, 48))
    (root / "train/0.png").unlink()
    (root / "train/0.png").symlink_to(root.parent / "outside.png")
    with pytest.raises(DataError, match="is a symbolic link out of"):
        load_split(root)
    # A link that stays inside is fine, and so is one that leads out but isn't asked for.
    (root / "train/unasked.png").symlink_to(root.parent / "outside.png")
    (root / "train/0.png").unlink()
    (root / "train/0.png").symlink_to("1.png")
    assert len(load_split(root).images) == 2


def test_linked_folders_and_annotations_are_refused(make_folder: Callable[..., Path]) -> None:
    root = make_folder(1)
    elsewhere = root.parent / "elsewhere"
    (root / "train").rename(elsewhere)
    (root / "train").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(DataError, match="is a symbolic link out of"):
        load_split(root)
    (root / "train.json").rename(root.parent / "train.json")
    (root / "train.json").symlink_to(root.parent / "train.json")
    with pytest.raises(DataError, match=r"train\.json: a symbolic link out of the data folder"):
        load_split(root)


def test_the_root_itself_may_be_a_link(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(make_folder(2), target_is_directory=True)
    assert len(load_split(tmp_path / "link").images) == 2


def test_only_regular_files_are_images(make_folder: Callable[..., Path]) -> None:
    root = make_folder(2)
    (root / "train/0.png").unlink()
    os.mkfifo(root / "train/0.png")  # opening it would wait for ever
    assert [image.path.name for image in load_split(root).images] == ["1.png"]


def test_json_has_a_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"images": []}')
    assert read_json(path, limit=14) == {"images": []}
    with pytest.raises(DataError, match="14 bytes, more than the 13 allowed"):
        read_json(path, limit=13)
