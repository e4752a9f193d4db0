"""Augmentation moves boxes along with pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.flip_jitter import Jitter, flip_boxes, flip_pixels, jitter_boxes, jitter_pixels

CONTENT = np.array([[32, 24], [20, 32]])
BOXES = np.array([[[4, 6, 12, 16]], [[2, 10, 18, 30]]], dtype=np.float32)
LABELS = np.array([[1], [2]])


def painted(boxes: np.ndarray = BOXES) -> np.ndarray:
    """Grey content with each image's first box painted white."""
    pixels = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    for image, (width, height), box in zip(pixels, CONTENT, boxes[:, 0].astype(int), strict=True):
        image[:height, :width] = 60
        image[box[1] : box[3], box[0] : box[2]] = 255
    return pixels


def extent(image: np.ndarray) -> list[int]:
    """Box of what is nearer to white than to grey."""
    white = image[..., 0] > 157
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_flip_by_hand() -> None:
    chosen = np.array([False, True])
    flipped = flip_boxes(BOXES, LABELS, CONTENT, chosen)
    assert flipped.tolist() == [[[4, 6, 12, 16]], [[2, 10, 18, 30]]]
    flipped = flip_boxes(BOXES, LABELS, CONTENT, ~chosen)
    assert flipped[0].tolist() == [[20, 6, 28, 16]]
    assert (flip_pixels(painted(), CONTENT, ~chosen) == painted(flipped)).all()


def test_flip_leaves_padding_boxes_alone() -> None:
    boxes = np.zeros((2, 3, 4), dtype=np.float32)
    labels = np.zeros((2, 3), dtype=np.int64)
    assert not flip_boxes(boxes, labels, CONTENT, np.ones(2, dtype=bool)).any()


def test_flip_keeps_padding_at_the_right() -> None:
    flipped = flip_pixels(painted(), CONTENT, np.ones(2, dtype=bool))
    assert not flipped[1, :, 20:].any()
    assert flipped[1, :, :20].all()


def test_jitter_by_hand() -> None:
    jitter = Jitter(
        scaled=np.array([[16, 12], [40, 64]]), offset=np.array([[0, 0], [8, 10]]), size=32
    )
    boxes, labels = jitter_boxes(BOXES, LABELS, CONTENT, jitter)
    # Halved; doubled and then moved by the crop, of which 32 px are in sight.
    assert boxes.tolist() == [[[2, 3, 6, 8]], [[0, 10, 28, 32]]]
    assert labels.tolist() == [[1], [2]]
    pixels = jitter_pixels(painted(), CONTENT, jitter)
    assert not pixels[0, 12:].any()
    assert not pixels[0, :, 16:].any()
    assert pixels[1].all()
    assert extent(pixels[0]) == [2, 3, 6, 8]
    assert extent(pixels[1]) == [0, 10, 28, 32]


def test_enlarged_content_has_no_dark_edge() -> None:
    pixels = np.where(painted() > 0, np.uint8(60), np.uint8(0))
    jitter = Jitter(scaled=CONTENT * 2, offset=np.array([[32, 16], [8, 32]]), size=32)
    assert (jitter_pixels(pixels, CONTENT, jitter) == 60).all()


def test_boxes_that_are_cut_away_become_padding() -> None:
    jitter = Jitter(scaled=CONTENT * 4, offset=np.array([[60, 0], [0, 0]]), size=32)
    boxes, labels = jitter_boxes(BOXES, LABELS, CONTENT, jitter)
    assert labels.tolist() == [[0], [0]]
    assert not boxes.any()


def test_scale_of_one_changes_nothing() -> None:
    jitter = Jitter.draw(np.random.default_rng(0), CONTENT, 32, (1.0, 1.0))
    assert (jitter_pixels(painted(), CONTENT, jitter) == painted()).all()
    boxes, labels = jitter_boxes(BOXES, LABELS, CONTENT, jitter)
    assert (boxes == BOXES).all()
    assert (labels == LABELS).all()


@given(st.integers(0, 2**32), st.floats(0.2, 3.0))
def test_painted_boxes_move_with_their_pixels(seed: int, scale: float) -> None:
    jitter = Jitter.draw(np.random.default_rng(seed), CONTENT, 32, (scale, scale))
    assert (jitter.offset >= 0).all()
    assert (jitter.offset <= np.maximum(0, jitter.scaled - 32)).all()
    boxes, labels = jitter_boxes(BOXES, LABELS, CONTENT, jitter)
    pixels = jitter_pixels(painted(), CONTENT, jitter)
    for image, box, label in zip(pixels, boxes[:, 0], labels[:, 0], strict=True):
        if label and (box[2:] - box[:2]).min() > 3:
            assert extent(image) == pytest.approx(box.tolist(), abs=1.01)
