"""Splits and detections for tests of the evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

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


def jittered(case: Any, seed: int) -> dict[int, Any]:
    """Detections near the boxes of a split, some of another class, and some elsewhere.

    A tenth of the images has none; scores have two digits, so that many are equal.
    """
    rng = np.random.default_rng(seed)
    guesses = {}
    for one in case.images:
        near = np.repeat(np.arange(len(one.labels)), rng.integers(0, 4, len(one.labels)))
        sides = np.tile(one.boxes[near, 2:] - one.boxes[near, :2], (1, 2)).astype(np.float64)
        moved = one.boxes[near] + rng.normal(0, 0.08, sides.shape) * sides
        corner = rng.uniform(0, 0.7, (5, 2)) * [one.width, one.height]
        elsewhere = np.concatenate([corner, corner + rng.uniform(5, 90, (5, 2))], axis=1)
        labels = rng.integers(1, len(case.categories) + 1, len(near) + 5)
        labels[: len(near)] = np.where(rng.random(len(near)) < 0.8, one.labels[near], labels[:-5])
        boxes = np.concatenate([moved, elsewhere])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        if rng.random() < 0.9:
            scores = np.round(rng.random(len(labels)), 2)
            guesses[one.id] = found(boxes.tolist(), labels.tolist(), scores.tolist())
    return guesses


def grid_case(seed: int, images: int = 32) -> tuple[Any, dict[int, Any]]:
    """Whole-numbered boxes with sides at COCO's limits of area; every fourth image is crowded.

    Its detections are copies of its boxes, moved by whole pixels, 150 and more of them. There are
    images without boxes and without detections, and the third class has no box.
    """
    rng = np.random.default_rng(seed)
    made, guesses = [], {}
    for number in range(images):
        count = 0 if number % 5 == 1 else int(rng.integers(1, 6))
        corner = rng.integers(0, 12, (count, 2)) * 8
        boxes = np.concatenate([corner, corner + rng.choice([16, 32, 33, 96], (count, 2))], axis=1)
        labels, crowd = rng.integers(1, 3, count), rng.random(count) < 0.25
        one = image(500 - number, boxes.tolist(), labels.tolist(), crowd.tolist())
        drawn = rng.random(count) < 0.3  # their annotated area isn't that of the box
        one.areas = np.where(drawn, rng.choice([1023, 1024, 1025, 9216, 9217], count), one.areas)
        made.append(one)
        total = 0 if number % 5 == 2 else 160 if number % 4 == 0 else 8
        near = rng.integers(0, count, total) if count else np.zeros(total, dtype=int)
        source = boxes if count else np.array([[0, 0, 32, 32]])
        moved = source[near] + np.tile(rng.integers(-4, 5, (total, 2)) * 2, (1, 2))
        of_class = labels[near] if count else np.ones(total, dtype=int)
        of_class = np.where(rng.random(total) < 0.1, 3, of_class)
        if number % 4 == 0:
            of_class[:130] = 1
        if total:
            scores = np.round(rng.random(total), 1)
            guesses[one.id] = found(moved.tolist(), of_class.tolist(), scores.tolist())
    return split(*made), guesses


def through_files(folder: Path, case: Any, detections: Any) -> COCOeval:
    """Judges by pycocotools alone, which reads boxes and detections from files."""

    def box(corners: Any) -> list[float]:
        x1, y1, x2, y2 = map(float, corners)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations = [
        {
            "image_id": i.id,
            "category_id": case.categories[label - 1].id,
            "bbox": box(b),
            "area": float(a),
            "iscrowd": int(c),
        }
        for i in case.images
        for label, b, a, c in zip(i.labels, i.boxes, i.areas, i.crowd, strict=True)
    ]
    truth = {
        "images": [{"id": i.id, "width": 200, "height": 200} for i in case.images],
        "categories": [{"id": c.id, "name": c.name} for c in case.categories],
        "annotations": [{"id": n, **a} for n, a in enumerate(annotations, start=1)],
    }
    results = [
        {
            "image_id": image_id,
            "category_id": case.categories[label - 1].id,
            "bbox": box(b),
            "score": float(s),
        }
        for image_id, f in detections.items()
        for label, b, s in zip(f["labels"], f["boxes"], f["scores"], strict=True)
    ]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))
    coco = COCO(str(folder / "truth.json"))
    judge = COCOeval(coco, coco.loadRes(str(folder / "found.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge
