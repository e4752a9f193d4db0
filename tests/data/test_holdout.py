"""The hold-out: how large it is, what is left out beside it, and its folds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from nas.data.coco import Category, Image, Split, load_split
from nas.data.holdout import fold_count, holdout, subset
from nas.data.settings import DataSettings

SETTINGS = DataSettings()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def on_paper(photos: int, boxes: int = 1) -> Split:
    """A split whose files aren't there: nothing is alike that can't be looked at."""
    box = np.tile(np.array([[8, 6, 24, 18]], dtype=np.float32), (boxes, 1))
    images = tuple(
        Image(
            id=k,
            path=Path(f"/nowhere/{k}.jpg"),
            width=64,
            height=48,
            boxes=box,
            labels=np.full(boxes, 1 + k % 2, dtype=np.int64),
            crowd=np.zeros(boxes, dtype=bool),
            areas=np.ones(boxes, dtype=np.float32),
            annotation_ids=np.arange(boxes),
        )
        for k in range(photos)
    )
    categories = (Category(1, "bolt"), Category(2, "nut"))
    return Split("train", Path("/nowhere"), images, categories, f"{photos} {boxes}", Path("a.json"))


def ids(part: Split) -> list[int]:
    return [image.id for image in part.images]


@pytest.mark.parametrize(
    ("photos", "boxes", "share", "fewest", "most"),
    [
        (3000, 1, 0.1, 300, 300),  # a tenth is large enough
        (600, 1, 0.1, 150, 200),  # for 150 boxes
        (205, 13, 0.1, 48, 48),  # for 48 photos
        (90, 1, 0.1, 30, 30),  # a third is less than either
        (90, 1, 0.5, 45, 45),  # what is asked for may be more than a third
        (3, 1, 0.1, 1, 1),
        (2, 1, 0.9, 1, 1),
    ],
)
def test_size(photos: int, boxes: int, share: float, fewest: int, most: int) -> None:
    split = on_paper(photos, boxes)
    fit, held = holdout(split, DataSettings(holdout=share), seed=0)
    assert fewest <= len(held) <= most
    assert sorted(ids(fit) + ids(held)) == list(range(photos))


@pytest.mark.parametrize(
    ("photos", "boxes", "folds"),
    [
        (4510, 1, 1),  # 451 photos with a box each
        (205, 14, 4),  # 48 photos are few, whatever is on them
        (280, 1, 3),  # 93 photos, but under 300 boxes
        (1000, 4, 1),  # 100 photos, 400 boxes
        (3, 1, 3),
        (2, 1, 2),
    ],
)
def test_a_small_holdout_has_folds(photos: int, boxes: int, folds: int) -> None:
    split = on_paper(photos, boxes)
    assert fold_count(split, SETTINGS) == folds
    parts = [holdout(split, SETTINGS, 0, fold) for fold in range(folds)]
    held = [set(ids(own)) for _, own in parts]
    assert sum(map(len, held)) == len(set.union(*held))
    assert len({own.fingerprint for _, own in parts}) == folds
    for fit, own in parts:
        assert set(ids(fit)).isdisjoint(ids(own))
        assert len(fit) + len(own) == photos
    with pytest.raises(ValueError, match=f"fold {folds}: there are {folds}"):
        holdout(split, SETTINGS, 0, folds)


def test_folds_are_of_blocks() -> None:
    for fold in range(4):
        held = ids(holdout(on_paper(205, 14), SETTINGS, 1, fold)[1])
        runs = 1 + int((np.diff(held) > 1).sum())
        assert len(held) >= 44
        assert runs <= 6  # of 8 photos each


def test_parts_depend_on_all_that_they_should() -> None:
    split = on_paper(205, 14)
    base = holdout(split, SETTINGS, 0)[1].fingerprint
    assert holdout(split, SETTINGS, 0)[1].fingerprint == base
    others = [
        holdout(split, SETTINGS, 1),
        holdout(split, SETTINGS, 0, 1),
        holdout(split, DataSettings(holdout=0.3), 0),
        holdout(split, DataSettings(holdout_by="images"), 0),
        holdout(split, DataSettings(holdout_blocks=2), 0),
    ]
    assert len({base, *(own.fingerprint for _, own in others)}) == 6


def test_a_note_is_taken_and_a_damaged_one_isnt(own_cache: Path) -> None:
    split = on_paper(90)
    first = holdout(split, SETTINGS, 0)
    (note,) = (own_cache / "holdout").glob("*.json")
    written = json.loads(note.read_text())
    for damage in (
        "{",
        "[]",
        json.dumps({**written, "holdout": [90]}),
        json.dumps({**written, "holdout": written["training"][:1]}),
        json.dumps({**written, "training": []}),
        json.dumps({"training": written["training"]}),
    ):
        note.write_text(damage)
        again = holdout(split, SETTINGS, 0)
        assert [part.fingerprint for part in again] == [part.fingerprint for part in first]
        assert json.loads(note.read_text()) == written
    swapped = {"training": written["holdout"], "holdout": written["training"]}
    note.write_text(json.dumps(swapped))
    assert ids(holdout(split, SETTINGS, 0)[0]) == ids(first[1])


def test_without_a_cache_it_is_drawn_each_time(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    blocked = DataSettings(cache_dir=tmp_path / "a file")
    split = on_paper(90)
    assert ids(holdout(split, blocked, 0)[1]) == ids(holdout(split, SETTINGS, 0)[1])


def film(root: Path, frames: int, step: int, *, classes: int = 1) -> Path:
    """A camera that moves over a floor by `step` px a frame, an object in the middle of each."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 6 + frames * step // 16), dtype=np.uint8)
    floor = Pillow.fromarray(coarse).resize((96 + frames * step, 96), Pillow.Resampling.BICUBIC)
    (root / "train").mkdir(parents=True)
    images, annotations = [], []
    for k in range(frames):
        name = f"{k}.png"
        floor.crop((k * step, 0, k * step + 96, 96)).convert("RGB").save(root / "train" / name)
        images.append({"id": k, "file_name": name, "width": 96, "height": 96})
        annotations.append(
            {
                "id": k + 1,
                "image_id": k,
                "category_id": 1 + k * classes // frames,
                "bbox": [30, 30, 30, 30],
            }
        )
    categories = [{"id": c + 1, "name": f"class {c}"} for c in range(classes)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "train.json").write_text(json.dumps(document))
    return root


def test_a_gap_beside_each_block_of_a_film(tmp_path: Path) -> None:
    split = load_split(film(tmp_path / "film", 300, step=3))
    fit, held = holdout(split, SETTINGS, 0)
    assert len(held) == 100  # a third: 165 would be needed for 150 boxes in any draw
    distance = np.abs(np.array(ids(fit))[:, None] - np.array(ids(held))).min()
    assert distance > 5
    runs = np.split(np.array(ids(held)), np.flatnonzero(np.diff(ids(held)) > 1) + 1)
    assert len(runs) <= 5  # of 20 frames at least
    assert len(fit) >= 300 - 100 - 5 * 2 * len(runs)
    singles = holdout(split, DataSettings(holdout_by="images"), 0)
    assert min(map(len, singles)) == 100  # who asks for single images has said that it is no film


def test_what_has_no_order_needs_no_gap(make_folder: Callable[..., Path]) -> None:
    split = load_split(make_folder(120))
    fit, held = holdout(split, SETTINGS, 0)
    assert (len(fit), len(held)) == (80, 40)


def add(root: Path, name: str, copy_of: int, *, gain: float = 1.0, **change: Any) -> None:
    """Adds another shot of a photo: a little brighter, as a JPEG."""
    document = json.loads((root / "train.json").read_text())
    pixels = np.asarray(Pillow.open(root / f"train/{copy_of}.png"), dtype=float) * gain
    shot = Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8))
    shot.save(root / "train" / name, quality=85)
    (old,) = (row for row in document["annotations"] if row["image_id"] == 10 * copy_of + 5)
    number = len(document["images"])
    document["images"].append({"id": 10 * number + 5, "file_name": name, "width": 64, "height": 48})
    document["annotations"].append({**old, "id": number + 1, "image_id": 10 * number + 5, **change})
    (root / "train.json").write_text(json.dumps(document))


def test_near_duplicates_of_held_photos_are_left_out(make_folder: Callable[..., Path]) -> None:
    root = make_folder(60)
    for k in range(60):
        add(root, f"z{k}.jpg", k, gain=1.03)  # all at the end of the order
    split = load_split(root)
    fit, held = holdout(split, SETTINGS, 0)
    assert len(held) == 40
    photo = {image.id: int(image.path.stem.strip("z")) for image in split.images}
    assert {photo[i] for i in ids(fit)}.isdisjoint(photo[i] for i in ids(held))
    # A copy goes for each photo that is held, unless both are.
    assert len(fit) == 120 - 40 - sum(
        sum(photo[i] == photo[j] for j in ids(held)) == 1 for i in ids(held)
    )


@pytest.mark.parametrize(
    "change", [{"category_id": 7}, {"bbox": [40, 30, 16, 12]}], ids=["another class", "elsewhere"]
)
def test_another_object_on_the_same_ground_is_no_duplicate(
    make_folder: Callable[..., Path], change: dict[str, Any]
) -> None:
    rows = [
        {"id": k + 1, "image_id": 10 * k + 5, "category_id": 2, "bbox": [8, 6, 16, 12]}
        for k in range(60)
    ]
    root = make_folder(60, annotations=rows)
    for k in range(60):
        add(root, f"z{k}.jpg", k, **change)
    fit, held = holdout(load_split(root), SETTINGS, 0)
    assert len(fit) + len(held) == 120


def test_a_still_camera_leaves_something_to_train_on(tmp_path: Path) -> None:
    """All photos are near-duplicates; half of the training part stays."""
    split = load_split(film(tmp_path / "still", 90, step=0))
    for image in split.images:  # else they would be one photo under 90 names
        pixels = np.asarray(Pillow.open(image.path)).copy()
        pixels[0, 0, 0] = image.id
        Pillow.fromarray(pixels).save(image.path)
    fit, held = holdout(load_split(split.root), SETTINGS, 0)
    assert len(held) == 30
    assert 25 <= len(fit) <= 30  # a gap of 5 on either side of a single block, at most


def test_subset() -> None:
    split = on_paper(200)
    some = subset(split, 50, seed=1)
    assert len(some) == 50
    assert (np.diff(ids(some)) > 0).all()
    assert some.fingerprint == subset(split, 50, seed=1).fingerprint
    assert some.fingerprint != subset(split, 50, seed=2).fingerprint
    assert subset(split, None, seed=1) is split
    assert subset(split, 1000, seed=1) is split
