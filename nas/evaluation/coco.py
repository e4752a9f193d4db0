"""COCO's numbers by pycocotools, the reference, or by the quick equal of its headline numbers."""

from __future__ import annotations

import contextlib
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.errors import DataError
from nas.evaluation.matching import IOUS, Detections, match_classes, xywh
from nas.evaluation.metrics import COMMON, Metrics

if TYPE_CHECKING:
    from nas.data.coco import Split


def evaluate(split: Split, detections: Detections, *, quick: bool = False) -> Metrics:
    """Judges detections by the boxes of a split.

    Args:
        split: crowd boxes in it are neither to be found nor wrong to be found.
        detections: by image id: boxes (n, 4) xyxy in original pixels, labels (n,) from 1,
            scores (n,). An image without an entry has none.
        quick: only `ap`, `ap50`, `ap75`, `ap_common` and `per_class`, equal to the reference's
            and many times faster; the rest is NaN.

    Raises:
        DataError: a detection of an unknown image or class, or with a number that isn't finite.
    """
    check(split, detections)
    if quick:
        aps = np.array(
            [
                [matches.average_precision(t)[0] for t in range(len(IOUS))]
                for matches in match_classes(split, detections)
            ]
        )  # (K, T)
        by_class = _by_class(split, [_mean(of_class) for of_class in aps])
        return Metrics(_mean(aps), _mean(aps[:, 0]), _mean(aps[:, 5]), **by_class)
    judge = _reference(split, detections)
    precision = _absent_to_nan(judge.eval["precision"])  # (T, 101, K, areas, most detections)
    column = {category_id: k for k, category_id in enumerate(judge.params.catIds)}
    each = [_mean(precision[:, :, column[category.id], 0, -1]) for category in split.categories]
    return Metrics(*_absent_to_nan(judge.stats).tolist(), **_by_class(split, each))


def check(split: Split, detections: Detections) -> None:
    """Refuses detections that can't be judged.

    Raises:
        DataError: names the image and what is wrong with it.
    """
    unknown = detections.keys() - {image.id for image in split.images}
    if unknown:
        raise DataError(f"detections for image {min(unknown)}, which {split.name} doesn't hold")
    for image_id, found in detections.items():
        labels, number = np.asarray(found["labels"]), len(split.categories)
        if len(labels) and not 1 <= labels.min() <= labels.max() <= number:
            raise DataError(f"detections for image {image_id} have labels outside 1..{number}")
        if not (np.isfinite(found["boxes"]).all() and np.isfinite(found["scores"]).all()):
            raise DataError(f"detections for image {image_id} hold numbers that aren't finite")


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
        for image_id, found in detections.items()
        for label, box, score in zip(
            found["labels"], xywh(found["boxes"]), found["scores"], strict=True
        )
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


def _by_class(split: Split, aps: list[float]) -> dict[str, Any]:
    labels = [image.labels[~image.crowd] for image in split.images]
    boxes = np.bincount(np.concatenate([[0], *labels]).astype(int), minlength=len(aps) + 1)[1:]
    common = np.array([ap for ap, count in zip(aps, boxes, strict=True) if count >= COMMON])
    names = [category.name for category in split.categories]
    return {"ap_common": _mean(common), "per_class": dict(zip(names, aps, strict=True))}


def _absent_to_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > -1, values, math.nan)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what isn't NaN; NaN if nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
