"""COCO's numbers of a file, by pycocotools on the clean one and by the code under test."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.data import coco
from nas.data.annotations import AnnotationFile, read_annotations
from nas.data.coco import Category, Split, load_split
from nas.data.problems import Problem
from nas.errors import DataError
from nas.evaluation.coco import evaluate
from tests.data.mutations import CLEAN, Document, Row


def guesses(document: Document) -> list[dict[str, Any]]:
    """Made-up detections: boxes a little off, some of another class, some of nothing."""
    rng = np.random.default_rng(0)
    made = []
    for row in document["annotations"]:
        for shift in (0.0, 1.5):
            made.append(
                {
                    "image_id": row["image_id"],
                    "category_id": row["category_id"] if rng.random() < 0.8 else 7,
                    "bbox": [v + shift * float(rng.normal()) for v in row["bbox"]],
                    "score": float(rng.random()),
                }
            )
    return made


def without(document: Document, lost: set[Row]) -> Document:
    """The document without some rows, and without what refers to them."""
    kept = {
        table: [row for k, row in enumerate(rows) if (table, k) not in lost]
        for table, rows in document.items()
    }
    for table, key in (("images", "image_id"), ("categories", "category_id")):
        ids = {row["id"] for row in kept[table]}
        kept["annotations"] = [row for row in kept["annotations"] if row[key] in ids]
    return kept


def judged_by_pycocotools(document: Document, found: list[dict[str, Any]]) -> list[float]:
    """COCO's twelve numbers of a clean document, without a line of the code under test."""
    images = {row["id"] for row in document["images"]}
    classes = {row["id"] for row in document["categories"]}
    own = [d for d in found if d["image_id"] in images and d["category_id"] in classes]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(document)
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(own) if own else COCO(), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [math.nan if value == -1 else value for value in judge.stats.tolist()]


JUDGED: dict[str, list[float]] = {}  # many mutations leave the same document


def judged_here(split: Split, found: list[dict[str, Any]]) -> list[float]:
    """The twelve numbers by the code under test."""
    labels = {category.id: k for k, category in enumerate(split.categories, start=1)}
    detections: dict[int, Any] = {}
    for image in split.images:
        own = [d for d in found if d["image_id"] == image.id and d["category_id"] in labels]
        boxes = np.array([d["bbox"] for d in own], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        detections[image.id] = {
            "boxes": boxes,
            "labels": np.array([labels[d["category_id"]] for d in own], dtype=np.int64),
            "scores": np.array([d["score"] for d in own], dtype=np.float64),
        }
    one = evaluate(split, detections)
    names = "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large"
    return [getattr(one, name) for name in names.split()]


def boxes_of(document: Document) -> list[Any]:
    return sorted(
        (row["image_id"], row["category_id"], *row["bbox"], row["iscrowd"], row["area"])
        for row in document["annotations"]
    )


def boxes_here(split: Split) -> list[Any]:
    return sorted(
        (
            *(image.id, split.categories[label - 1].id, x1, y1, x2 - x1, y2 - y1),
            *(int(crowd), area),
        )
        for image in split.images
        for label, (x1, y1, x2, y2), crowd, area in zip(
            *(image.labels, image.boxes.tolist(), image.crowd, image.areas.tolist()), strict=True
        )
    )


@dataclass(frozen=True)
class Loaded:
    split: Split
    problems: list[Problem]


def load(root: Path, name: str, text: str) -> Loaded | str:
    """The split and what was noted; or the one line by which it was refused."""
    (root / f"{name}.json").write_text(text, encoding="utf-8")
    own = None if name == "train" else CATEGORIES
    read: list[AnnotationFile] = []

    def remembered(*arguments: Any) -> AnnotationFile:
        read.append(read_annotations(*arguments))
        return read[-1]

    try:
        with mock.patch.object(coco, "read_annotations", remembered):
            split = load_split(root, name, categories=own)  # type: ignore[arg-type]
    except DataError as error:
        message = str(error)
        return message if "\n" not in message and f"{name}.json" in message else "no such line"
    for problem in read[0].problems:
        assert "\n" not in str(problem)
        assert str(problem).startswith(f"{name}.json: ")
    return Loaded(split, read[0].problems)


CATEGORIES = [Category(row["id"], row["name"]) for row in CLEAN["train"]["categories"]]


def assert_equal(split: Split, expected: Document, name: str) -> None:
    found = guesses(CLEAN[name])
    assert boxes_here(split) == boxes_of(expected)
    if name == "val":  # a class without a box there is judged all the same
        expected = {**expected, "categories": CLEAN["train"]["categories"]}
    key = json.dumps(expected)
    if key not in JUDGED:
        JUDGED[key] = judged_by_pycocotools(expected, found)
    ours, theirs = judged_here(split, found), JUDGED[key]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
