"""The random crop is torchvision's, and moves boxes along with pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms.v2 import RandomIoUCrop, _geometry

from nas.data.iou_crop import TRIALS, IoUCrop, crop_boxes, crop_pixels
from nas.data.resize import ResizeRule, resize

SIZE = 64


class SameDraws:
    """Stands in for torch's generator in torchvision's crop: gives it the numbers that ours gets.

    torchvision draws two numbers for the sides and, unless the aspect is refused, two for the
    corner; ours draws four for each trial.
    """

    def __init__(self, seed: int, photo: tuple[int, int]) -> None:
        self.rng, self.photo = np.random.default_rng(seed), photo
        self.trials: Iterator[np.ndarray] = iter(())
        self.corner: np.ndarray | None = None

    def randint(self, low: int, high: int, size: tuple[int]) -> torch.Tensor:
        option = int(self.rng.integers(high))
        if option < high - 1:  # the last one leaves the photo as it is
            self.trials = iter(self.rng.random((TRIALS, 4)))
        return torch.tensor([option])

    def rand(self, count: int) -> torch.Tensor:
        if self.corner is not None:
            corner, self.corner = self.corner, None
            return torch.from_numpy(corner)
        draws = next(self.trials)
        width, height = (int(p * (0.3 + 0.7 * d)) for p, d in zip(self.photo, draws, strict=False))
        self.corner = draws[2:] if 0.5 <= width / height <= 2 else None
        return torch.from_numpy(draws[:2])


def photo_and_boxes(seed: int) -> tuple[tuple[int, int], np.ndarray]:
    """Width and height, and 1 to 6 boxes (n, 4) of a made-up photo."""
    rng = np.random.default_rng(seed)
    photo = int(rng.integers(40, 700)), int(rng.integers(40, 700))
    ends = rng.random((rng.integers(1, 7), 2, 2)) * photo
    boxes = np.concatenate([ends.min(axis=1), ends.max(axis=1) + 1], axis=1)
    return photo, np.minimum(boxes, [*photo, *photo])


@pytest.mark.parametrize("seed", range(60))
def test_equal_draws_give_torchvision_s_crop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (width, height), boxes = photo_and_boxes(seed)
    draws = SameDraws(seed, (width, height))
    monkeypatch.setattr(_geometry.torch, "rand", draws.rand)
    monkeypatch.setattr(_geometry.torch, "randint", draws.randint)
    targets: Any = tv_tensors.BoundingBoxes(
        torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width)
    )
    params = RandomIoUCrop().make_params([torch.zeros(3, height, width), targets])
    expected = [params.get(name, whole) for name, whole in zip(
        ("left", "top", "width", "height"), (0, 0, width, height), strict=True
    )]  # fmt: skip

    photo = np.array([[width, height]])
    labels = np.ones((1, len(boxes)), dtype=np.int64)
    crop = IoUCrop.draw(np.random.default_rng(seed), photo, photo, boxes[None], labels)
    assert crop.regions[0].tolist() == expected
    inside = params.get("is_within_crop_area", torch.ones(len(boxes), dtype=torch.bool))
    assert crop.kept[0].tolist() == inside.tolist()
    if params:
        moved = RandomIoUCrop().transform(targets, params).numpy()
        ours, left = crop_boxes(boxes[None], labels, photo, crop, 1000, "stretch")
        back = ours[0] * np.tile(crop.regions[0, 2:] / 1000, 2)
        np.testing.assert_allclose(back, moved, atol=1e-3)
        assert (left[0] > 0).tolist() == inside.tolist()


def test_a_photo_without_boxes_stays_whole() -> None:
    photo, none = np.array([[60, 40]]), np.zeros((1, 2, 4))
    crop = IoUCrop.draw(np.random.default_rng(0), photo, photo, none, np.zeros((1, 2), int))
    assert not crop.cropped.any()
    assert not crop.kept.any()


def test_by_hand() -> None:
    """The left half of a 200x100 photo that lies as 64x32 in its letterbox."""
    content, photos = np.array([[64, 32]]), np.array([[200, 100]])
    crop = IoUCrop(photos, np.array([[0, 0, 100, 100]]), np.array([[True, False]]))
    boxes = np.array([[[8, 8, 48, 16], [40, 0, 60, 30]]], dtype=np.float32)
    pixels = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)
    pixels[0, :32, :32], pixels[0, :32, 32:] = 50, 200
    moved, labels = crop_boxes(boxes, np.array([[3, 4]]), content, crop, SIZE, "letterbox")
    assert moved.tolist() == [[[16, 16, 64, 32], [0, 0, 0, 0]]]  # doubled, and cut at the crop
    assert labels.tolist() == [[3, 0]]
    assert crop.content(SIZE, "letterbox").tolist() == [[64, 64]]
    assert (crop_pixels(pixels, content, crop, "letterbox") == 50).all()


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
@given(seed=st.integers(0, 2**32))
def test_a_painted_box_moves_with_its_pixels(rule: ResizeRule, seed: int) -> None:
    photo = np.array([[120, 80]])
    image = np.full((80, 120, 3), 60, dtype=np.uint8)
    image[20:56, 30:84] = 255
    square, place = resize(image, SIZE, rule)
    content = np.array([[round(120 * place.scale_x), round(80 * place.scale_y)]])
    boxes = place.to_input(np.array([[30, 20, 84, 56]], dtype=np.float32))[None]
    labels = np.array([[1]])
    crop = IoUCrop.draw(np.random.default_rng(seed), photo, content, boxes, labels)
    boxes, labels = crop_boxes(boxes, labels, content, crop, SIZE, rule)
    pixels = crop_pixels(square[None], content, crop, rule)[0]
    width, height = crop.content(SIZE, rule)[0]
    assert not pixels[height:].any() and not pixels[:, width:].any()
    assert pixels[:height, :width].min() > 40
    white = pixels[..., 0] > 157
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert labels.tolist() == [[1]]
    assert found == pytest.approx(boxes[0, 0].tolist(), abs=2.1)  # enlarged up to 3.3 times


def test_equal_seeds_give_equal_crops() -> None:
    photo, boxes = np.array([[90, 70]] * 8), np.tile([10.0, 10, 60, 60], (8, 1, 1))
    labels = np.ones((8, 1), dtype=np.int64)
    one, two = (
        IoUCrop.draw(np.random.default_rng(3), photo, photo, boxes, labels) for _ in range(2)
    )
    assert (one.regions == two.regions).all()
    assert len(np.unique(one.regions, axis=0)) > 4
