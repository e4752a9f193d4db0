"""The quick evaluator gives pycocotools' numbers, on data of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.coco import load_split
from nas.data.scenes import write_scenes
from nas.evaluation.coco import evaluate
from nas.evaluation.matching import match_classes
from tests.evaluation.cases import found, grid_case, image, jittered, random_case, split

PHOTOS = Path(__file__).parents[3] / "shared" / "data"
SIZES = ("ap_small", "ap_medium", "ap_large", "ar_small", "ar_medium", "ar_large")


def assert_equal(case: Any, detections: Any) -> dict[str, Any]:
    """All twelve numbers and those of every class, to 1e-9; returns the reference's."""
    reference = evaluate(case, detections).to_dict()
    quick = evaluate(case, detections, quick=True).to_dict()
    theirs, ours = reference.pop("per_class"), quick.pop("per_class")
    assert quick == pytest.approx(reference, abs=1e-9)
    assert list(ours) == list(theirs)
    for name, numbers in theirs.items():
        assert ours[name] == pytest.approx(numbers, abs=1e-9), name
    return reference


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_built_in_scenes(tmp_path: Path, difficulty: Any) -> None:
    folder = write_scenes(tmp_path / "scenes", images=40, difficulty=difficulty)
    case = load_split(folder, "train")
    numbers = assert_equal(case, jittered(case, seed=1))
    assert all(0 < numbers[name] < 1 for name in ("ap", *SIZES))


@pytest.mark.parametrize("seed", range(6))
def test_crowds_ties_limits_of_area_and_more_than_a_hundred_detections(seed: int) -> None:
    case, detections = grid_case(seed)
    numbers = assert_equal(case, detections)
    assert all(0 < numbers[name] < 1 for name in ("ap", *SIZES))
    assert any(image.crowd.any() for image in case.images)
    assert any(not len(image.labels) for image in case.images)
    assert len(detections) < len(case.images)
    assert max(np.bincount(found["labels"]).max() for found in detections.values()) > 100


@pytest.mark.parametrize("name", ["fod-a", "bccd"])
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photos beside the checkout")
def test_photos(name: str) -> None:
    train = load_split(PHOTOS / name, "train")
    case = load_split(PHOTOS / name, "val", categories=train.categories)
    numbers = assert_equal(case, jittered(case, seed=2))
    assert 0 < numbers["ap"] < 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 8]), st.sampled_from([0.0, 0.3]))
def test_small_random_cases(seed: int, classes: int, crowds: float) -> None:
    assert_equal(*random_case(seed, images=12, classes=classes, crowds=crowds))


box = st.tuples(*[st.integers(0, 4)] * 2, *[st.integers(1, 4)] * 2).map(
    lambda b: [16.0 * v for v in (b[0], b[1], b[0] + b[2], b[1] + b[3])]
)
truth = st.lists(st.tuples(box, st.integers(1, 2), st.booleans()), max_size=4)
guess = st.lists(st.tuples(box, st.integers(1, 2), st.sampled_from([0.3, 0.6])), max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(truth, guess), min_size=1, max_size=3))
def test_boxes_on_a_grid(images: list[Any]) -> None:
    """Equal IoUs, IoUs at a threshold, equal scores, and areas of 32² and under are common here."""
    made, detections = [], {}
    for number, (truths, guesses) in enumerate(images):
        boxes, labels, crowds = zip(*truths, strict=True) if truths else ((), (), ())
        made.append(image(9 - number, list(boxes), list(labels), list(crowds)))
        if guesses:
            boxes, labels, scores = zip(*guesses, strict=True)
            detections[9 - number] = found(list(boxes), list(labels), list(scores))
    assert_equal(split(*made), detections)


def test_areas_at_a_limit_count_on_both_sides() -> None:
    """32 x 32 is small and medium, 96 x 96 medium and large: COCO's ranges hold both ends."""
    sides = [[0.0, 0, 32, 32], [50.0, 50, 146, 146]]
    case = split(image(1, sides, [1, 1]))
    detections = {1: found(sides, [1, 1], [0.9, 0.8])}
    assert_equal(case, detections)
    metrics = evaluate(case, {1: found(sides[:1], [1], [0.9])}, quick=True)
    assert (metrics.ar_small, metrics.ar_medium, metrics.ar_large) == (1, 0.5, 0)


def test_the_annotated_area_decides_of_a_box_and_its_own_of_a_detection() -> None:
    """A box of 100 x 100 px whose object has 900 px² is small; a wrong detection of it is large."""
    case = split(image(1, [[0, 0, 100, 100]], [1]), image(2, [[0, 0, 20, 20]], [1]))
    case.images[0].areas[:] = 900
    wrong = [[100.0, 100, 200, 200], [0.0, 0, 100, 100]]
    numbers = assert_equal(case, {1: found(wrong, [1, 1], [0.9, 0.8])})
    assert numbers["ap_small"] == pytest.approx(51 / 101)
    assert numbers["ap_large"] is None


@pytest.mark.parametrize(("second", "recall"), [([0.0, 0, 20, 10], 1.0), ([10.0, 0, 30, 10], 0.5)])
def test_of_boxes_with_equal_iou_the_last_is_taken(second: list[float], recall: float) -> None:
    """The first detection overlaps both by 2/3, so the second finds only the first box free."""
    case = split(image(1, [[0, 0, 20, 10], [10, 0, 30, 10]], [1, 1]))
    detections = {1: found([[0, 0, 30, 10], second], [1, 1], [0.9, 0.8])}
    assert_equal(case, detections)
    [matches, *_] = match_classes(case, detections)
    assert matches.recall(100)[0] == recall
