from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from nas.data.cache import PixelCache
from nas.data.coco import load_split
from nas.data.decoding import open_pixels
from nas.data.resize import placement
from nas.data.scenes import write_scenes
from nas.data.settings import DataSettings
from nas.evaluation.coco import evaluate
from nas.evaluation.predict import in_image, predict_split
from tests.evaluation.cases import found, image


class Oracle(nn.Module):
    """Answers with the boxes that it is told, in input pixels, image after image."""

    def __init__(self, boxes: list[Any], labels: list[Any]) -> None:
        super().__init__()
        self.queue = list(zip(boxes, labels, strict=True))

    def detect(self, images: Tensor) -> list[dict[str, Tensor]]:
        assert images.dtype == torch.uint8 and not self.training
        answers, self.queue = self.queue[: len(images)], self.queue[len(images) :]
        return [
            {
                "boxes": torch.from_numpy(boxes),
                "labels": torch.from_numpy(labels),
                "scores": torch.full((len(labels),), 0.5),
            }
            for boxes, labels in answers
        ]


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_an_oracle_in_input_pixels_scores_one(tmp_path: Any, rule: Any) -> None:
    split = load_split(write_scenes(tmp_path / "scenes", images=20), "train")
    cache = PixelCache.open(split, 96, rule, tmp_path)
    places = zip(cache.placements, split.images, strict=True)
    boxes = [place.to_input(image.boxes) for place, image in places]
    oracle = Oracle(boxes, [image.labels for image in split.images]).train()
    detections = predict_split(oracle, cache, split, batch_size=7)
    assert evaluate(split, detections).ap == pytest.approx(1)
    assert oracle.training


def test_detections_that_are_not_finite_are_left_out_with_one_warning(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    split = load_split(write_scenes(tmp_path / "scenes", images=10), "train")
    cache = PixelCache.open(split, 96, "letterbox", tmp_path)
    boxes = [np.array([[8.0, 8, 60, 60], [8, 8, np.nan, 60]]) for _ in split.images]
    oracle = Oracle(boxes, [np.array([1, 2])] * len(boxes))
    detections = predict_split(oracle, cache, split)
    assert all(one["labels"].tolist() == [1] for one in detections.values())
    [record] = caplog.records
    assert record.getMessage() == "8 detections on train aren't finite numbers, and are left out"


def test_boxes_are_clipped_and_impossible_ones_left_out() -> None:
    from nas.data.resize import Placement

    inside = in_image(
        found(
            [[-5, 10, 50, 60], [110, 0, 120, 9], [0, 0, np.nan, 9], [8, 8, 8, 20]],
            [1, 2, 3, 1],
            [0.9, 0.8, 0.7, 0.6],
        ),
        Placement(0.5, 0.5),
        image(1, [], []),
    )
    assert inside["boxes"].tolist() == [[0, 20, 100, 120]]  # the picture is 200 px wide
    assert (inside["labels"].tolist(), inside["scores"].tolist()) == ([1], [0.9])


@pytest.mark.parametrize("mode", ["cache", "decode"])
def test_undecodable_images_are_judged_as_if_the_file_did_not_have_them(
    tmp_path: Any, mode: Any
) -> None:
    """By pycocotools alone, on the annotation file without their rows."""
    root = write_scenes(tmp_path / "scenes", images=30)
    split = load_split(root, "train")
    for one in split.images[::5]:
        one.path.write_bytes(one.path.read_bytes()[: one.path.stat().st_size // 2])
    gone = {one.id for one in split.images[::5]}
    pixels = open_pixels(
        split, 96, "letterbox", DataSettings(pixels=mode, cache_dir=tmp_path / "cache")
    )
    judged = pixels.decodable(split)
    assert {one.id for one in judged.images}.isdisjoint(gone)
    rng = np.random.default_rng(0)
    boxes, labels = [], []
    for one in judged.images:
        place = placement(one.width, one.height, 96, "letterbox")
        boxes.append(place.to_input(one.boxes + rng.normal(0, 3, one.boxes.shape)))
        labels.append(one.labels)
    detections = predict_split(Oracle(boxes, labels), pixels, split)
    document = json.loads((root / "train.json").read_text())
    document["images"] = [row for row in document["images"] if row["id"] not in gone]
    document["annotations"] = [r for r in document["annotations"] if r["image_id"] not in gone]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    results = [
        {
            "image_id": image_id,
            "category_id": split.categories[label - 1].id,
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "score": float(score),
        }
        for image_id, one in detections.items()
        for box, label, score in zip(one["boxes"], one["labels"], one["scores"], strict=True)
    ]
    truth = COCO(str(tmp_path / "truth.json"))
    (tmp_path / "results.json").write_text(json.dumps(results))
    judge = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    for quick in (False, True):
        numbers = evaluate(judged, detections, quick=quick)
        assert 0.1 < numbers.ap < 0.95
        assert [numbers.ap, numbers.ap50, numbers.ar100] == pytest.approx(
            [judge.stats[0], judge.stats[1], judge.stats[8]], abs=1e-9
        )
