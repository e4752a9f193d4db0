"""COCO's numbers by pycocotools, the reference, or by its quick equal."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.data.coco import class_names
from nas.evaluation.ap import ClassMatches
from nas.evaluation.detections import Detections, check, xywh
from nas.evaluation.matching import AREAS, IOUS, MAX_DETECTIONS, match_classes
from nas.evaluation.metrics import COMMON, ClassNumbers, Metrics

if TYPE_CHECKING:
    from nas.data.coco import Split

_AP75 = 5  # position of 0.75 in `IOUS`


def evaluate(split: Split, detections: Detections, *, quick: bool = False) -> Metrics:
    """Judges detections by the boxes of a split.

    Args:
        split: Crowd boxes in it are neither to be found nor wrong to be found.
        detections: By image id: boxes (n, 4) xyxy in original pixels, labels (n,) from 1,
            scores (n,). An image without an entry has none.
        quick: Matches in numpy instead of by pycocotools: equal numbers, many times faster.

    Raises:
        DataError: A detection of an unknown image or class, or with a number that isn't finite.
    """
    if quick:
        return _quick(split, match_classes(split, detections))
    check(split, detections)
    judge = _reference(split, detections)
    precision = _absent_to_nan(judge.eval["precision"])  # (T, 101, K, areas, most detections)
    column = {category_id: k for k, category_id in enumerate(judge.params.catIds)}
    own = [precision[:, :, column[category.id], 0, -1] for category in split.categories]
    aps = np.array([[_mean(at) for at in of_class] for of_class in own])  # (K, T)
    return Metrics(*_absent_to_nan(judge.stats).tolist(), **_by_class(split, aps))


def _quick(split: Split, classes: Sequence[ClassMatches]) -> Metrics:
    """Returns the twelve numbers of what `match_classes` gives."""
    aps = np.array(
        [
            [
                [one.average_precision(t, area=area)[0] for t in range(len(IOUS))]
                for area in range(len(AREAS))
            ]
            for one in classes
        ]
    )  # (K, A, T)

    def recall(most: int, area: int = 0) -> float:
        return _mean(np.array([one.recall(most, area=area) for one in classes]))

    return Metrics(
        ap=_mean(aps[:, 0]),
        ap50=_mean(aps[:, 0, 0]),
        ap75=_mean(aps[:, 0, _AP75]),
        ap_small=_mean(aps[:, 1]),
        ap_medium=_mean(aps[:, 2]),
        ap_large=_mean(aps[:, 3]),
        ar1=recall(1),
        ar10=recall(10),
        ar100=recall(MAX_DETECTIONS),
        ar_small=recall(MAX_DETECTIONS, 1),
        ar_medium=recall(MAX_DETECTIONS, 2),
        ar_large=recall(MAX_DETECTIONS, 3),
        **_by_class(split, aps[:, 0]),
    )


def _reference(split: Split, detections: Detections) -> COCOeval:
    """Runs COCOeval over both sides, held in memory and without its prints."""
    truths = [
        _annotation(
            image.id, split.categories[label - 1].id, box, area=float(area), crowd=int(crowd)
        )
        for image in split.images
        for label, box, area, crowd in zip(
            image.labels, xywh(image.boxes), image.areas, image.crowd, strict=True
        )
    ]
    guesses = [
        _annotation(image_id, split.categories[label - 1].id, box, score=float(score))
        for image_id, own in detections.items()
        for label, box, score in zip(own["labels"], xywh(own["boxes"]), own["scores"], strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_coco(split, truths), _coco(split, guesses), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def _annotation(
    image_id: int,
    category_id: int,
    box: NDArray[np.float64],
    *,
    area: float | None = None,
    crowd: int = 0,
    score: float | None = None,
) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": float(box[2] * box[3]) if area is None else area,
        "iscrowd": crowd,
        "score": score,
    }


def _coco(split: Split, annotations: list[dict[str, Any]]) -> COCO:
    for number, annotation in enumerate(annotations, start=1):  # COCOeval takes 0 for no match
        annotation["id"] = number
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id} for image in split.images],
        "categories": [{"id": category.id} for category in split.categories],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _by_class(split: Split, aps: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the entries of `Metrics` by class, from average precisions (K, T)."""
    labels = [image.labels[~image.crowd] for image in split.images]
    boxes = np.bincount(np.concatenate([[0], *labels]).astype(int), minlength=len(aps) + 1)[1:]
    common = np.array(
        [_mean(own) for own, count in zip(aps, boxes, strict=True) if count >= COMMON]
    )
    per_class = {
        name: ClassNumbers(int(count), _mean(own), float(own[0]))
        for name, count, own in zip(class_names(split), boxes, aps, strict=True)
    }
    return {"ap_common": _mean(common), "per_class": per_class}


def _absent_to_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > -1, values, math.nan)


def _mean(values: NDArray[np.float64]) -> float:
    """Returns the mean of what isn't NaN; NaN if nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
