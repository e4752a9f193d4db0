"""`nas data check` on a folder that was broken on purpose, and the anchor count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from nas.data.check import check, unmatchable
from nas.data.coco import load_split
from nas.errors import DataError


def row(key: int, image: int, box: Any, category: int = 2, **more: Any) -> dict[str, Any]:
    return {"id": key, "image_id": image, "category_id": category, "bbox": box, **more}


def whole_folder(make_folder: Callable[..., Path], train: int = 4, **val: Any) -> Path:
    """Some pictures in train and two others in val, with the rows of `val` in its tables."""
    make_folder(train + 2)
    root = make_folder(2, json_path="val.json", folder="val", **val)
    for k in range(2):  # other pictures than those of train
        (root / f"train/{train + k}.png").rename(root / f"val/{k}.png")
    return make_folder(train)


def test_a_whole_folder_is_ok(make_folder: Callable[..., Path]) -> None:
    report = check(whole_folder(make_folder))
    assert report.ok and report.usable
    assert str(report).endswith("\nok: everything can be used")


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
        ("undecodable image", "image 3 (3.png)"),
        ("duplicate image id", "image 4 (4.png)"),
        ("path out of the folder", "image 8 (../8.png)"),
        ("size differs from the file's", "image 9 (9.png)"),
        ("zero-area box", "annotation 2 of image 0"),
        ("non-finite box", "annotation 3 of image 0"),
        ("unknown category", "annotation 4 of image 0"),
        ("unknown image", "annotation 5 of image 77"),
        ("duplicate annotation id", "annotation 1 of image 4"),
        ("box outside its image", "annotation 6 of image 4"),
    }
    assert not report.ok and not report.usable
    refusals = [str(refusal) for refusal in report.refusals]
    assert len(refusals) == 2
    assert refusals[0].startswith("nas search and nas train refuse this folder: ")
    assert "file_name '../8.png' is absolute or has '..'" in refusals[0]
    assert refusals[1].startswith("nas train refuses this folder: ")
    assert "no annotations for 'val'" in refusals[1]
    assert done[-1] == (4, 4)
    assert len(str(report).splitlines()) == len(report.problems) + 2
    assert (
        "train.json: zero-area box: annotation 2 of image 0 "
        "(category 2, bbox [1, 1, 0, 5]; annotations[1])"
    ) in str(report)
    summary = report.summaries[0]  # of what can be decoded: image 3 is left out
    assert (summary.images, summary.empty, summary.boxes, summary.crowds) == (3, 1, 2, 1)
    assert summary.per_class == {"bolt": 2, "nut": 0}
    assert summary.sides == pytest.approx((5, 5, 5))


def test_pictures_in_both_splits_are_told_and_used(make_folder: Callable[..., Path]) -> None:
    make_folder(3)
    report = check(make_folder(1, json_path="val.json", folder="val"))
    assert [problem.kind for problem in report.problems] == ["picture in both splits"]
    assert "same pixels as 0.png of train" in str(report)
    assert not report.ok and report.usable
    assert report.verdict == "1 x picture in both splits: used all the same; everything is used"


def test_copies_within_a_split_are_told_and_used(make_folder: Callable[..., Path]) -> None:
    root = whole_folder(make_folder)
    picture = root / "train/1.png"
    with Pillow.open(picture) as image:  # the same pixels in other bytes
        image.save(root / "train/3.png", compress_level=1)
    assert picture.read_bytes() != (root / "train/3.png").read_bytes()
    report = check(root)
    assert [(p.kind, p.subject) for p in report.problems] == [
        ("picture there twice", "image 35 (3.png)")
    ]
    assert report.usable


def test_undecodable_pictures_are_left_out_of_the_numbers(
    make_folder: Callable[..., Path],
) -> None:
    root = whole_folder(make_folder)
    broken = root / "val/1.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    report = check(root)
    assert report.verdict == "1 x undecodable image: left out by every command"
    assert (report.summaries[1].images, report.summaries[1].boxes) == (1, 1)
    assert not report.usable


CROWDS = [row(1, 5, [1, 1, 9, 9], iscrowd=1), row(2, 15, [1, 1, 9, 9], iscrowd=1)]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([], r"val\.json: no usable box on 2 images; "),
        (CROWDS, r"val\.json: no usable box on 2 images but 2 crowds, which are no ground truth; "),
    ],
)
def test_a_val_without_ground_truth(
    make_folder: Callable[..., Path], annotations: list[Any], message: str
) -> None:
    """What `train` and `eval` refuse, check lists, in the same words."""
    root = whole_folder(make_folder, annotations=annotations)
    (refusal,) = check(root).refusals
    assert refusal.commands == "nas train"
    with pytest.raises(DataError, match=message) as caught:
        load_split(root, "val")
    assert refusal.message == str(caught.value)


def test_a_val_whose_boxes_are_on_undecodable_pictures(make_folder: Callable[..., Path]) -> None:
    root = whole_folder(make_folder, annotations=[row(1, 5, [1, 1, 9, 9])])
    broken = root / "val/0.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    (refusal,) = check(root).refusals
    assert refusal.commands == "nas train"
    assert "val.json: no usable box on 1 image: nothing to judge on" in refusal.message


@pytest.mark.parametrize(
    ("images", "commands", "message"),
    [
        (1, "nas search and nas train", "1 image to train on, and batch norm needs at least 2"),
        (2, "nas search", "beside a hold-out of 1, 1 image is left to train on"),
        (3, None, None),
    ],
)
def test_the_least_number_of_images(
    make_folder: Callable[..., Path], images: int, commands: str | None, message: str | None
) -> None:
    report = check(whole_folder(make_folder, images))
    assert [refusal.commands for refusal in report.refusals] == ([commands] if commands else [])
    assert message is None or message in report.refusals[0].message


def test_a_holdout_without_a_box(make_folder: Callable[..., Path]) -> None:
    """One image has all boxes: it can't stand on both sides."""
    root = whole_folder(make_folder, 12)
    make_folder(12, annotations=[row(1, 35, [1, 1, 9, 9])])
    (refusal,) = check(root).refusals
    assert refusal.commands == "nas search"
    assert "one image alone has boxes" in refusal.message
    (root / "val.json").unlink()
    assert [refusal.commands for refusal in check(root).refusals] == ["nas train", "nas search"]


def test_a_class_that_train_has_no_box_of(make_folder: Callable[..., Path]) -> None:
    root = whole_folder(make_folder)
    make_folder(4, annotations=[row(k + 1, 10 * k + 5, [1, 1, 9, 9]) for k in range(4)])
    report = check(root)
    assert [(p.kind, p.subject) for p in report.problems] == [
        ("class without a box in train", "category 7 (nut)")
    ]
    assert report.usable


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
