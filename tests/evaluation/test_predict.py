from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data.cache import PixelCache
from nas.data.coco import load_split
from nas.data.scenes import write_scenes
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
