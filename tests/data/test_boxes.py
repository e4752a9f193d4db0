"""Boxes under EXIF's turns, against Pillow; and conventions that aren't COCO's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from nas.data.annotations import read_annotations
from nas.data.boxes import convention, turned
from nas.data.coco import load_split
from nas.data.folder_layout import find_layout
from nas.data.problems import Problem

ORIENTATION = 0x0112
STORED = (64, 48)
BOX = (10, 5, 20, 12)  # x, y, width, height in the picture as stored


def problems_of(root: Path) -> list[Problem]:
    return read_annotations(find_layout(root, "train")).problems


def shown_box(picture: Pillow.Image) -> list[int]:
    """Where the white of a picture lies once Pillow has turned it upright: x1, y1, x2, y2."""
    y, x = np.nonzero(np.asarray(ImageOps.exif_transpose(picture).convert("L")) > 128)
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


def turned_picture(path: Path, orientation: int, size: tuple[int, int] = STORED) -> list[int]:
    """Writes a black picture with a white box; returns the box in the picture as shown."""
    x, y, width, height = BOX
    picture = Pillow.new("RGB", size)
    picture.paste((255, 255, 255), (x, y, x + width, y + height))
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    picture.save(path, exif=exif)
    with Pillow.open(path) as saved:
        return shown_box(saved)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pictures_do(tmp_path: Path, orientation: int) -> None:
    expected = turned_picture(tmp_path / "a.png", orientation)
    x, y, width, height = BOX
    xyxy = np.array([[x, y, x + width, y + height]], dtype=np.float64)
    assert turned(xyxy, np.array([STORED]), np.array([orientation])).tolist() == [expected]


def exif_folder(
    make_folder: Callable[..., Path], pictures: list[tuple[int, tuple[int, int] | None]]
) -> tuple[Path, list[list[int]]]:
    """A folder of turned pictures with declared sizes; and the boxes as shown."""
    images: list[dict[str, Any]] = []
    for k, (_, declared) in enumerate(pictures):
        sizes = {} if declared is None else {"width": declared[0], "height": declared[1]}
        images.append({"id": k, "file_name": f"{k}.png", **sizes})
    rows = [
        {"id": k, "image_id": k, "category_id": 2, "bbox": list(BOX)} for k in range(len(images))
    ]
    root = make_folder(len(images), images=images, annotations=rows)
    paths = [root / f"train/{k}.png" for k in range(len(images))]
    return root, [
        turned_picture(path, orientation)
        for path, (orientation, _) in zip(paths, pictures, strict=True)
    ]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_stored_picture_are_turned(
    make_folder: Callable[..., Path], orientation: int
) -> None:
    root, expected = exif_folder(make_folder, [(orientation, STORED)])
    assert load_split(root).images[0].boxes.tolist() == expected
    (problem,) = problems_of(root)
    assert not problem.left_out
    assert "boxes are turned with the picture" in str(problem)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_picture_as_shown_stay(
    make_folder: Callable[..., Path], orientation: int
) -> None:
    root, _ = exif_folder(make_folder, [(orientation, STORED[::-1])])
    x, y, width, height = BOX
    assert load_split(root).images[0].boxes.tolist() == [[x, y, x + width, y + height]]
    assert not problems_of(root)


@pytest.mark.parametrize("declared", [STORED, None])
def test_where_the_size_does_not_tell_the_other_pictures_do(
    make_folder: Callable[..., Path], declared: tuple[int, int] | None
) -> None:
    root, expected = exif_folder(make_folder, [(3, declared), (6, STORED), (1, STORED)])
    assert [image.boxes.tolist() for image in load_split(root).images] == [[b] for b in expected]
    root, expected = exif_folder(make_folder, [(3, declared), (6, STORED[::-1])])
    x, y, width, height = BOX
    assert load_split(root).images[0].boxes.tolist() == [[x, y, x + width, y + height]]
    assert not problems_of(root)


def test_where_nothing_tells_it_is_noted(make_folder: Callable[..., Path]) -> None:
    root, _ = exif_folder(make_folder, [(3, STORED), (1, STORED)])
    x, y, width, height = BOX
    assert load_split(root).images[0].boxes.tolist() == [[x, y, x + width, y + height]]
    (problem,) = problems_of(root)
    assert not problem.left_out
    assert "image 0 (0.png)" in str(problem)
    assert "read as those of the picture as shown" in str(problem)


SIZES = np.tile([[96, 72]], (12, 1))


def random_corners(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, side = rng.uniform(0, (66, 42), (12, 2)), rng.uniform(12, 30, (12, 2))
    return np.concatenate([low, low + side], axis=1)


@pytest.mark.parametrize("seed", range(20))
def test_conventions_are_recognised(seed: int) -> None:
    corners = random_corners(seed)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    assert convention(xywh, SIZES) is None
    assert convention(xywh[:1], SIZES[:1]) is None
    as_corners = convention(corners, SIZES)
    assert as_corners is not None
    assert "x1, y1, x2, y2" in as_corners.name
    assert "12 of 12" in as_corners.reason
    for boxes in (xywh, corners):
        shares = convention(boxes / [96, 72, 96, 72], SIZES)
        assert shares is not None
        assert "from 0 to 1" in shares.name


def test_large_boxes_at_the_top_left_are_no_corners() -> None:
    whole = np.array([[0.0, 0, 96, 72], [1, 1, 95, 71], [2, 2, 60, 60]])
    assert convention(whole, SIZES[:3]) is None
    assert convention(np.zeros((0, 4)), SIZES[:0]) is None
    assert convention(np.array([[0.0, 0, 1, 1]]), SIZES[:1]) is None  # a box of one pixel


def test_boxes_of_another_convention_are_noted_and_used(make_folder: Callable[..., Path]) -> None:
    rows = [
        {"id": k, "image_id": 5, "category_id": 2, "bbox": [20 + k, 20, 50 + k, 40]}
        for k in range(4)
    ]
    root = make_folder(1, annotations=rows)
    (problem,) = problems_of(root)
    assert not problem.left_out
    assert str(problem).startswith("train.json: boxes look like x1, y1, x2, y2")
    assert "4 of 4" in str(problem)
    assert load_split(root).images[0].boxes[0].tolist() == [20, 20, 64, 48]


def test_boxes_beyond_the_edge_are_noted_with_their_rows(make_folder: Callable[..., Path]) -> None:
    boxes = [[-4, 6, 14, 16], [50, 40, 14.05, 8], [50, 40, 20, 4], [1, 1, 5, 5], [0, 0, 1e9, 4]]
    rows = [
        {"id": k + 1, "image_id": 5, "category_id": 2, "bbox": box} for k, box in enumerate(boxes)
    ]
    root = make_folder(1, annotations=rows)
    lines = [(p.kind.split(",")[0], p.subject, p.left_out) for p in problems_of(root)]
    assert lines == [
        ("box far beyond its image", "annotation 5 of image 5", True),
        ("box reaches beyond its image", "annotation 1 of image 5", False),
        ("box reaches beyond its image", "annotation 3 of image 5", False),
    ]
    assert len(load_split(root).images[0].boxes) == 4


def test_ignore_is_noted(make_folder: Callable[..., Path]) -> None:
    row = {"image_id": 5, "category_id": 2, "bbox": [1, 1, 5, 5]}
    rows = [{"id": 1, **row, "ignore": 1}, {"id": 2, **row, "ignore": 0}]
    root = make_folder(1, annotations=[*rows, {"id": 3, **row, "ignore": 1, "iscrowd": 1}])
    (problem,) = problems_of(root)
    assert (problem.left_out, problem.subject) == (False, "annotation 1 of image 5")
    assert load_split(root).images[0].crowd.tolist() == [False, False, True]


def test_clean_json_of_another_encoding(make_folder: Callable[..., Path]) -> None:
    root = make_folder(2)
    text = json.dumps(json.loads((root / "train.json").read_text()))
    before = load_split(root).fingerprint
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (root / "train.json").write_bytes(text.encode(encoding))
        assert load_split(root).fingerprint == before
