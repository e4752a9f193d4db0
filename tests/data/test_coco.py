"""Splits read from COCO's format, against hand-worked cases."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from nas.data.coco import Category, load_split
from nas.errors import DataError


def annotation(key: Any, box: Any, **changes: Any) -> dict[str, Any]:
    return {"id": key, "image_id": 5, "category_id": 2, "bbox": box, "iscrowd": 0} | changes


def test_ids_with_gaps_are_kept_and_labels_are_contiguous(
    make_folder: Callable[..., Path],
) -> None:
    split = load_split(make_folder(2))
    assert [image.id for image in split.images] == [5, 15]
    assert split.categories == (Category(2, "bolt"), Category(7, "nut"))
    assert [image.labels.tolist() for image in split.images] == [[1], [2]]
    assert split.images[0].boxes.tolist() == [[8, 6, 24, 18]]
    assert (split.images[0].width, split.images[0].height) == (64, 48)
    assert split.images[0].boxes.dtype == np.float32


def test_boxes_are_clipped_and_areas_kept(make_folder: Callable[..., Path]) -> None:
    rows = [
        annotation(1, [-4, -6, 14, 16]),
        annotation(2, [60.5, 40, 10, 100], area=17.5),
        annotation(3, [0, 0, 64, 48], iscrowd=1),
    ]
    first, second = load_split(make_folder(2, annotations=rows)).images
    assert first.boxes.tolist() == [[0, 0, 10, 10], [60.5, 40, 64, 48], [0, 0, 64, 48]]
    assert first.areas.tolist() == [100, 17.5, 64 * 48]
    assert first.crowd.tolist() == [False, False, True]
    assert first.annotation_ids.tolist() == [1, 2, 3]
    assert second.boxes.shape == (0, 4)
    assert second.labels.shape == (0,)


def test_boxes_are_sorted_to_their_images(make_folder: Callable[..., Path]) -> None:
    rows = [
        annotation(1, [0, 0, 1, 1], image_id=25),
        annotation(2, [0, 0, 2, 2], image_id=5),
        annotation(3, [0, 0, 3, 3], image_id=25),
    ]
    split = load_split(make_folder(3, annotations=rows))
    assert [image.annotation_ids.tolist() for image in split.images] == [[2], [], [1, 3]]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (annotation(9, [1, 1, 0, 5]), "zero-area box"),
        (annotation(9, [1, 1, -3, 5]), "box with a negative width or height"),
        (annotation(9, [70, 1, 5, 5]), "box outside its image"),
        (annotation(9, [1, float("nan"), 5, 5]), "non-finite box"),
        (annotation(9, [1, 1, float("inf"), 5]), "non-finite box"),
        (annotation(9, [1, 1, 5]), "bbox is not four numbers"),
        (annotation(9, None), "bbox is not four numbers"),
        (annotation(9, ["1,5", 1, 5, 5]), "bbox is not four numbers"),
        (annotation(9, [1, 10**400, 5, 5]), "bbox is not four numbers"),
        (annotation(9, [1, 1, 5, 5], category_id=3), "unknown category"),
        (annotation(9, [1, 1, 5, 5], category_id="two"), "unknown category"),
        (annotation(9, [1, 1, 5, 5], image_id=6), "unknown image"),
        (annotation(9, [1, 1, 5, 5], image_id=None), "unknown image"),
    ],
)
def test_unusable_boxes_are_left_out_and_counted(
    make_folder: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    row: dict[str, Any],
    kind: str,
) -> None:
    good = annotation(1, [1, 1, 5, 5])
    root = make_folder(1, annotations=[row, good, row | {"id": 10}])
    with caplog.at_level(logging.WARNING):
        split = load_split(root)
    assert split.images[0].annotation_ids.tolist() == [1]
    assert len(caplog.records) == 1
    assert f"2 x {kind}" in caplog.text


def test_images_that_are_missing_or_broken_are_left_out(
    make_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder(4)
    (root / "train/1.png").unlink()
    (root / "train/2.png").write_bytes(b"not an image")
    split = load_split(root)
    assert [image.id for image in split.images] == [5, 35]
    assert "1 x missing image" in caplog.text
    assert "1 x unreadable image" in caplog.text
    assert "unknown image" not in caplog.text


def test_duplicate_ids(make_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    images = [{"id": 5, "file_name": "0.png"}, {"id": 5, "file_name": "0.png"}]
    rows = [annotation(1, [0, 0, 4, 4]), annotation(1, [4, 4, 4, 4])]
    split = load_split(make_folder(2, images=images, annotations=rows))
    assert [image.path.name for image in split.images] == ["0.png"]
    assert len(split.images[0].boxes) == 2
    assert len(set(split.images[0].annotation_ids.tolist())) == 2
    assert "1 x duplicate annotation id" in caplog.text
    assert "1 x duplicate image id" in caplog.text


def test_labels_of_val_follow_train(make_folder: Callable[..., Path]) -> None:
    make_folder(2)
    root = make_folder(
        1,
        json_path="val.json",
        folder="val",
        categories=[{"id": 7, "name": "nut"}],
        annotations=[annotation(1, [1, 1, 5, 5], category_id=7)],
    )
    train = load_split(root, "train")
    val = load_split(root, "val", categories=train.categories)
    assert val.images[0].labels.tolist() == [2]
    with pytest.raises(DataError, match="category id 7 is 'nut' here and 'nail' in the training"):
        load_split(root, "val", categories=[Category(7, "nail")])


def test_fingerprint_is_of_the_content(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(2)
    before = load_split(root).fingerprint
    shutil.copytree(root, tmp_path / "copy")
    assert load_split(tmp_path / "copy").fingerprint == before
    document = json.loads((root / "train.json").read_text())
    document["annotations"][0]["bbox"][0] += 0.5
    (root / "train.json").write_text(json.dumps(document))
    assert load_split(root).fingerprint != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "top level is a list"),
        ('{"images": [], "annotations": []}', "'categories' is missing"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is missing"),
        ('{"images": [3], "annotations": [], "categories": []}', r"images\[0\] is 3"),
        ('{"images": [], "annotations": [], "categories": []}', "'categories' is empty"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_split(tmp_path)
    assert "train.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_without_images_or_boxes_are_refused(make_folder: Callable[..., Path]) -> None:
    root = make_folder(2, annotations=[annotation(1, [0, 0, 0, 0])])
    with pytest.raises(DataError, match=r"no usable box on 2 images \(1 x zero-area box\)"):
        load_split(root)
    shutil.rmtree(root / "train")
    with pytest.raises(DataError, match=r"none of its images can be used \(2 x missing image"):
        load_split(root)


def test_size_before_exif_rotation_is_corrected(
    make_folder: Callable[..., Path],
    write_picture: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = make_folder(1)
    exif = Pillow.Exif()
    exif[0x0112] = 6
    write_picture(root / "train/0.png", (64, 48), format="JPEG", exif=exif)
    image = load_split(root).images[0]
    assert (image.width, image.height) == (48, 64)
    assert "size differs from the file's" in caplog.text


def test_packed_files_are_told_as_that(make_folder: Callable[..., Path]) -> None:
    root = make_folder(1)
    path = root / "train.json"
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"train\.json: a gzip file; unpack it"):
        load_split(root)


def test_a_key_with_two_values_is_refused_where_it_is_read(
    make_folder: Callable[..., Path],
) -> None:
    root = make_folder(2)
    path = root / "train.json"
    whole = path.read_text()
    path.write_text(whole.replace('"image_id": 15', '"note": 1, "note": 2, "image_id": 15'))
    assert len(load_split(root).images[1].boxes) == 1
    path.write_text(whole.replace('"image_id": 15', '"image_id": 15, "image_id": 15'))
    assert len(load_split(root).images[1].boxes) == 1
    path.write_text(whole.replace('"image_id": 15', '"image_id": 5, "image_id": 15'))
    with pytest.raises(DataError, match=r"annotations\[1\] has two values of 'image_id', 5 and 15"):
        load_split(root)
