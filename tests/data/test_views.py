"""Views and mosaics: a white rectangle on black must stay in its box, whatever is done to it."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.batches import Batch, TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.colour import Tint, draw_tint, tinted
from nas.data.mosaic import draw_mosaic
from nas.data.passes import by_passes, median_side
from nas.data.resize import resize
from nas.data.settings import AugmentSettings
from nas.data.source import SplitSource
from nas.data.view_augmentation import Augmentation
from nas.data.views import Orientation, PhotoView, Target, draw_view
from nas.errors import DataError

PLAIN = AugmentSettings(oversample=1)
STRONG = by_passes(140, 30)
LABELS = np.array([1])
ORIENTATIONS = list(itertools.product(range(4), (False, True), (False, True)))


def photo(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Grey, so that it is told from padding, with a white rectangle."""
    pixels = np.full((height, width, 3), 60, dtype=np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    return pixels


def bounds(pixels: np.ndarray) -> np.ndarray:
    """Returns the box (4,) around what is nearer to white than to grey."""
    rows, columns = np.nonzero(pixels.min(axis=-1) > 157)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize(
    "orientation", list(itertools.product(range(4), (False, True), (False, True)))
)
def test_boxes_turn_with_their_pixels(orientation: tuple[int, bool, bool]) -> None:
    turn = Orientation(*orientation)
    box = (3, 5, 11, 8)
    turned = turn.pixels(photo(30, 20, box))
    assert turned.shape[1::-1] == tuple(turn.size(np.array([30, 20])))
    boxes = turn.boxes(np.array([box], dtype=float), np.array([30, 20]))
    assert boxes[0].tolist() == bounds(turned).tolist()


def test_a_quarter_turns_against_the_clock() -> None:
    boxes = Orientation(1).boxes(np.array([[0.0, 0.0, 4.0, 2.0]]), np.array([30, 20]))
    assert boxes[0].tolist() == [0, 26, 2, 30]  # from the top left to the bottom left


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_without_changes_a_photo_lies_as_in_evaluation(rule: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cached, place = resize(noise, 64, rule)
    content = np.array([64, 64 if rule == "stretch" else 48])
    boxes = place.to_input(np.array([[8, 6, 24, 18]], dtype=np.float32))
    for seed in range(5):
        target = Target(64, rule, flip=False)
        view = draw_view(np.random.default_rng(seed), PLAIN, 0, content, boxes, target)
        painted = np.zeros((64, 64, 3), dtype=np.uint8)
        view.paint(painted, cached[: content[1], : content[0]])
        assert (painted == cached).all()
        moved, labels = view.boxes(boxes, LABELS, content)
        assert moved == pytest.approx(boxes)
        assert labels.tolist() == [1]


def painted(view: PhotoView, pixels: np.ndarray, size: int) -> np.ndarray:
    target = np.zeros((size, size, 3), dtype=np.uint8)
    view._replace(tint=Tint()).paint(target, pixels)
    return target


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_rectangles_stay_in_their_boxes(rule: Any) -> None:
    box = (70, 40, 150, 110)
    pixels, content = photo(320, 200, box), np.array([320, 200])
    boxes = np.array([box], dtype=np.float32)
    shown = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, STRONG, 0, content, boxes, Target(160, rule, True, True, True))
        moved, _ = view.boxes(boxes, LABELS, content)
        if len(moved):
            shown += 1
            assert bounds(painted(view, pixels, 160)) == pytest.approx(moved[0], abs=1.5)
    assert shown > 80


def test_rectangles_stay_in_the_boxes_of_a_mosaic() -> None:
    box = (70, 40, 150, 110)
    pixels, content = photo(320, 200, box), np.array([320, 200])
    boxes = np.array([box], dtype=np.float32)
    shown = [0, 0, 0, 0]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        target = Target(160, "letterbox", True, True, True)
        views = draw_mosaic(rng, STRONG, [0] * 4, np.stack([content] * 4), target)
        x, y = views[0].frame[2:]
        assert min(x, y) >= 40
        assert max(x, y) <= 120
        for place, view in enumerate(views):
            alone = painted(view, pixels, 160)
            left, top, right, bottom = view.frame
            outside = alone.copy()
            outside[top:bottom, left:right] = 0
            assert not outside.any()
            assert alone[min(y, 159) - (place < 2), min(x, 159) - (place % 2 == 0)].any()  # meets
            moved, _ = view.boxes(boxes, LABELS, content)
            if len(moved):
                shown[place] += 1
                assert bounds(alone) == pytest.approx(moved[0], abs=1.5)
    assert min(shown) > 10


def test_what_is_hardly_seen_is_no_box() -> None:
    view = PhotoView(0, Orientation(), np.zeros(2), np.ones(2), (0, 0, 100, 100), Tint())
    boxes = np.array([[90, 0, 140, 50], [89, 0, 139, 50], [10, 10, 10.5, 40], [200, 0, 210, 9.0]])
    moved, labels = view.boxes(boxes, np.array([1, 2, 3, 4]), np.array([300, 300]))
    # 20 % and 22 % of two are inside; the third is half a pixel wide, the fourth outside.
    assert labels.tolist() == [1, 2]
    assert moved.tolist() == [[90, 0, 100, 50], [89, 0, 100, 50]]
    moved, labels = view.boxes(boxes + 1, np.array([1, 2, 3, 4]), np.array([300, 300]))
    assert labels.tolist() == [2]


def test_colours_by_hand() -> None:
    pixels = np.array([[[100, 50, 200]]], dtype=np.uint8)
    assert tinted(pixels, Tint(brightness=0.2)).tolist() == [[[151, 101, 251]]]
    assert tinted(pixels, Tint(brightness=0.4)).tolist() == [[[202, 152, 255]]]
    assert tinted(pixels, Tint(contrast=0.5)).tolist() == [[[50, 25, 100]]]
    assert tinted(pixels, Tint(0.2, 0.5)).tolist() == [[[76, 50, 126]]]  # brightness comes first
    assert tinted(pixels, Tint(saturation=0.0)).tolist() == [[[200, 200, 200]]]
    assert tinted(pixels, Tint()) is pixels


def test_saturation_is_that_of_hsv() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 50, 3), dtype=np.uint8)
    result = tinted(pixels, Tint(saturation=0.7))
    for before, after in zip(pixels[0] / 255, result[0] / 255, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        assert after == pytest.approx(colorsys.hsv_to_rgb(hue, 0.7 * saturation, value), abs=0.003)


def test_each_change_has_its_chance() -> None:
    tints = [draw_tint(np.random.default_rng(seed), STRONG) for seed in range(400)]
    for name, plain, (low, high) in (
        ("brightness", 0.0, (-0.2, 0.2)),
        ("contrast", 1.0, (0.6, 1.4)),
        ("saturation", 1.0, (0.5, 1.2)),
    ):
        values = np.array([getattr(tint, name) for tint in tints])
        assert 0.42 < (values == plain).mean() < 0.58
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high


@pytest.fixture
def split(make_folder: Callable[..., Path]) -> Split:
    return load_split(make_folder(20))


def cached(split: Split, tmp_path: Path, size: int = 64) -> PixelCache:
    return PixelCache.open(split, size, "letterbox", tmp_path / "cache")


def batches(split: Split, cache: PixelCache, **options: Any) -> TrainBatches:
    turns = {"flip_vertical": True, "quarter_turns": True}
    options = {"augment": STRONG, "epochs": 10, **turns, **options}
    return TrainBatches(cache, split, 8, 0, **options)


def same(first: Batch, second: Batch) -> bool:
    return all(
        (getattr(first, name).numpy() == getattr(second, name).numpy()).all()
        for name in ("images", "boxes", "labels")
    )


def test_a_batch_is_a_function_of_seed_epoch_and_step(split: Split, tmp_path: Path) -> None:
    cache = cached(split, tmp_path)
    first = list(batches(split, cache).epoch(3))
    assert len(first) == 2
    assert first[0].images.shape == (8, 3, 32, 32)
    np.random.default_rng(0)
    again = list(batches(split, cache, workers=2).epoch(3))
    assert all(same(one, two) for one, two in zip(first, again, strict=True))
    (later,) = batches(split, cache).epoch(3, start_step=1)
    assert same(later, first[1])
    (other,) = batches(split, cache).epoch(4, start_step=1)
    assert not (other.images == first[1].images).all()


def test_shares_of_a_batch_are_the_batch(split: Split, tmp_path: Path) -> None:
    cache = cached(split, tmp_path)
    (whole, _), *parts = (
        list(batches(split, cache, share=share).epoch(0))
        for share in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    for name in ("images", "boxes", "labels"):
        together = np.concatenate([getattr(part[0], name).numpy() for part in parts])
        assert (together == getattr(whole, name).numpy()).all()


def views_of(split: Split, cache: PixelCache, share: float) -> list[list[PhotoView]]:
    augmentation = Augmentation(SplitSource(cache, split), STRONG, Target(32, "letterbox"))
    every = np.arange(len(split))
    rng = np.random.default_rng(0)
    return augmentation.draw(rng, np.resize(every, 400), every, share)


def test_mosaics_end_before_the_training(split: Split, tmp_path: Path) -> None:
    cache = cached(split, tmp_path)
    for share, low, high in ((0.0, 0.4, 0.6), (0.79, 0.4, 0.6), (0.8, 0, 0), (1.0, 0, 0)):
        counts = np.array([len(own) for own in views_of(split, cache, share)])
        assert set(counts) <= {1, 4}
        assert low <= (counts == 4).mean() <= high
    last = list(batches(split, cache).epoch(8))
    plain = STRONG.model_copy(update={"mosaic": 0.0})
    assert all(map(same, last, batches(split, cache, augment=plain).epoch(8)))


def test_a_cache_of_another_size_is_refused(split: Split, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"49 px, and inputs of 24 px with oversample 2 need 48"):
        batches(split, cached(split, tmp_path, size=49))


def test_strength_follows_passes() -> None:
    few, some, many = (by_passes(passes, 30) for passes in (7.9, 40, 40.1))
    assert few == AugmentSettings(scale=(0.8, 1.25))
    assert (some.iou_crop, some.zoom_out, some.mosaic) == (0.5, 0.3, 0)
    assert many == some.model_copy(update={"mosaic": 0.5})
    assert by_passes(8, 15.9).zoom_out == 0


def test_the_median_box_is_measured_in_the_input(split: Split) -> None:
    # Photos of 64 × 48, boxes of 16 to 23 × 12: at 32 px, half as large.
    widths = [16 + k % 8 for k in range(20)]
    assert median_side(split, 32, "letterbox") == pytest.approx(
        float(np.median([(w * 12) ** 0.5 / 2 for w in widths]))
    )
    assert median_side(split.part("none", []), 32, "letterbox") == 0


@pytest.mark.parametrize("name", ["scale", "stretch", "contrast", "saturation", "mosaic_scale"])
def test_a_range_is_a_range(name: str) -> None:
    for limits in ((1.2, 0.8), (0.0, 1.0)):
        with pytest.raises(ValueError, match=f"{name} .* is no range"):
            AugmentSettings.model_validate({name: limits})


@pytest.mark.parametrize(
    ("target", "orientations"),
    [
        (Target(32, "letterbox", flip=False), {(0, False, False)}),
        (Target(32, "letterbox"), {(0, False, False), (0, True, False)}),
        (Target(32, "letterbox", False, True), {(0, False, False), (0, False, True)}),
        (Target(32, "letterbox", False, False, True), {(q, False, False) for q in range(4)}),
        (Target(32, "letterbox", True, True, True), set(ORIENTATIONS)),
    ],
)
def test_only_what_is_allowed_is_turned(
    target: Target, orientations: set[tuple[int, bool, bool]]
) -> None:
    rng = np.random.default_rng(0)
    assert {tuple(target.draw_orientation(rng)) for _ in range(200)} == orientations
