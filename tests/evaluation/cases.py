"""Splits and detections for tests of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

IDS = [7, 3, 90]  # the user's, neither in order nor without gaps
NAMES = ["cup", "bolt", "plate"]


def image(
    image_id: int,
    boxes: Sequence[Sequence[float]],
    labels: list[int],
    crowd: list[bool] | None = None,
) -> Any:
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return SimpleNamespace(
        id=image_id,
        width=200,
        height=200,
        boxes=corners,
        labels=np.array(labels, dtype=np.int64),
        crowd=np.array(crowd or [False] * len(boxes), dtype=bool),
        areas=((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])),
    )


def split(*images: Any, classes: int = 3) -> Any:
    categories = [SimpleNamespace(id=IDS[k], name=NAMES[k]) for k in range(min(classes, 3))]
    categories += [SimpleNamespace(id=100 + k, name=f"class {k}") for k in range(3, classes)]
    return SimpleNamespace(name="val", images=tuple(images), categories=tuple(categories))


def found(
    boxes: Sequence[Sequence[float]], labels: list[int], scores: list[float]
) -> dict[str, Any]:
    return {
        "boxes": np.array(boxes, dtype=np.float64).reshape(-1, 4),
        "labels": np.array(labels, dtype=np.int64),
        "scores": np.array(scores, dtype=np.float64),
    }


def random_case(
    seed: int, images: int = 30, classes: int = 3, detections: int = 12, crowds: float = 0.15
) -> tuple[Any, dict[int, Any]]:
    """Boxes of all sizes, detections near them and elsewhere, equal scores, crowds, duplicates."""
    rng = np.random.default_rng(seed)
    made, guesses = [], {}
    for image_id in rng.permutation(1000)[:images].tolist():
        count = int(rng.integers(0, 5))
        corner, size = rng.uniform(0, 100, (count, 2)), rng.choice([8, 40, 99], (count, 1))
        boxes = np.concatenate([corner, corner + size * rng.uniform(0.7, 1, (count, 2))], axis=1)
        labels = rng.integers(1, classes + 1, count)
        crowd = rng.random(count) < crowds
        made.append(image(image_id, boxes.tolist(), labels.tolist(), crowd.tolist()))
        total = int(rng.integers(0, detections + 1))
        near = rng.integers(0, max(1, count), total)
        near_boxes = boxes[near] if count else np.tile([10.0, 10, 60, 60], (total, 1))
        near_labels = labels[near] if count else np.ones(total, dtype=int)
        spread = rng.choice([0, 1, 6], (total, 1))
        guess = near_boxes + rng.normal(0, 1, (total, 4)) * spread
        guess[:, 2:] = np.maximum(guess[:, 2:], guess[:, :2] + 1)
        wrong = rng.random(total) < 0.2
        guess_labels = np.where(wrong, rng.integers(1, classes + 1, total), near_labels)
        scores = np.round(rng.random(total), 1)  # ties
        if total:
            guesses[image_id] = found(guess.tolist(), guess_labels.tolist(), scores.tolist())
    return split(*made, classes=classes), guesses
