"""`nas data check` on a folder that was broken on purpose, and the anchor count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.check import check, unmatchable
from nas.data.coco import load_split
from nas.errors import DataError


def row(key: int, image: int, box: Any, category: int = 2, **more: Any) -> dict[str, Any]:
    return {"id": key, "image_id": image, "category_id": category, "bbox": box, **more}


def test_a_whole_folder_is_ok(make_folder: Callable[..., Path]) -> None:
    make_folder(4)
    root = make_folder(2, json_path="val.json", folder="val")
    for k in range(2):  # other pictures than those of train
        (root / f"val/{k}.png").write_bytes((root / f"train/{k + 2}.png").read_bytes())
        (root / f"train/{k + 2}.png").unlink()
    report = check(make_folder(2))
    assert report.ok
    assert "ok" in str(report)


def test_everything_broken_is_listed(
    make_folder: Callable[..., Path], write_picture: Callable[..., None]
) -> None:
    sizes = {"width": 64, "height": 48}
    images = [{"id": k, "file_name": f"{k}.png", **sizes} for k in range(5)]
    images += [
        {"id": 4, "file_name": "4.png", **sizes},
        {"id": 8, "file_name": "../8.png", **sizes},
        {"id": 9, "file_name": "9.png", "width": 48, "height": 64},
    ]
    annotations = [
        row(1, 0, [1, 1, 5, 5]),
        row(2, 0, [1, 1, 0, 5]),
        row(3, 0, [float("nan"), 1, 5, 5]),
        row(4, 0, [1, 1, 5, 5], category=99),
        row(5, 77, [1, 1, 5, 5]),
        row(1, 4, [1, 1, 5, 5]),
        row(6, 4, [64, 1, 5, 5]),
        row(7, 1, [1, 1, 5, 5]),
        row(8, 4, [0, 0, 60, 40], iscrowd=1),
    ]
    root = make_folder(5, images=images, annotations=annotations)
    (root / "train/1.png").unlink()
    (root / "train/2.png").write_bytes(b"GIF? no")
    truncated = root / "train/3.png"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    write_picture(root / "train/9.png", (64, 48), seed=9)
    done: list[tuple[int, int]] = []
    report = check(root, progress=lambda *step: done.append(step))
    found = {(problem.kind, problem.subject) for problem in report.problems}
    assert found == {
        ("missing image", "image 1 (1.png)"),
        ("unreadable image", "image 2 (2.png)"),
        ("truncated image", "image 3 (3.png)"),
        ("duplicate image id", "image 4 (4.png)"),
        ("path out of the folder", "image 8 (../8.png)"),
        ("size differs from the file's", "image 9 (9.png)"),
        ("zero-area box", "annotation 2 of image 0"),
        ("non-finite box", "annotation 3 of image 0"),
        ("unknown category", "annotation 4 of image 0"),
        ("unknown image", "annotation 5 of image 77"),
        ("duplicate annotation id", "annotation 1 of image 4"),
        ("box outside its image", "annotation 6 of image 4"),
        ("no validation split", "val"),
    }
    assert not report.ok
    assert done[-1] == (4, 4)
    assert len(str(report).splitlines()) == len(report.problems) + 2
    assert (
        "train.json: zero-area box: annotation 2 of image 0 "
        "(category 2, bbox [1, 1, 0, 5]; annotations[1])"
    ) in str(report)
    summary = report.summaries[0]
    assert (summary.images, summary.empty, summary.boxes, summary.crowds) == (4, 2, 2, 1)
    assert summary.per_class == {"bolt": 2, "nut": 0}
    assert summary.sides == pytest.approx((5, 5, 5))


def test_pictures_in_both_splits_are_listed(make_folder: Callable[..., Path]) -> None:
    make_folder(2)
    report = check(make_folder(1, json_path="val.json", folder="val"))
    assert [problem.kind for problem in report.problems] == ["picture in both splits"]
    assert "same pixels as 0.png of train" in str(report)


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotations for 'train'"):
        check(tmp_path)


def test_unmatchable_by_hand(make_folder: Callable[..., Path]) -> None:
    # 64x48 px at 32 px: lengths are halved. Anchors 4x4 and 16x16.
    annotations = [
        row(1, 5, [0, 0, 8, 8]),  # 4x4: IoU 1 at level 0
        row(2, 5, [0, 0, 4, 16]),  # 2x8: overlap 8 of 24 at level 0
        row(3, 5, [0, 0, 24, 24]),  # 12x12: 144 / 256 = 0.5625 at level 1
        row(4, 5, [0, 0, 20, 20]),  # 10x10: 100 / 256 at level 1
        row(5, 5, [0, 0, 60, 40], iscrowd=1),
    ]
    split = load_split(make_folder(1, annotations=annotations))
    anchors = [np.array([[4.0, 4.0]]), np.array([[16.0, 16.0]])]
    match = unmatchable(split, anchors, 32, "letterbox")
    assert match.boxes.tolist() == [2, 2]
    assert match.unmatchable.tolist() == [1, 1]
    assert match.share == 0.5
    assert unmatchable(split, anchors, 32, "letterbox", iou=0.3).share == 0
