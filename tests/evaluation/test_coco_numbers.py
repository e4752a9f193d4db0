from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import DataError
from nas.evaluation.coco import evaluate
from nas.evaluation.metrics import ClassNumbers
from tests.evaluation.cases import found, image, random_case, split, through_files

ONE = split(image(5, [[10, 10, 50, 50]], [1]))
both = pytest.mark.parametrize("quick", [False, True], ids=["reference", "quick"])


@both
def test_a_perfect_detection(quick: bool) -> None:
    metrics = evaluate(ONE, {5: found([[10, 10, 50, 50]], [1], [0.3])}, quick=quick)
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((1, 1, 1))
    assert metrics.per_class["cup"].ap == pytest.approx(1)
    assert math.isnan(metrics.per_class["bolt"].ap)  # no box: nothing to be said


@both
def test_thresholds_are_counted_by_hand(quick: bool) -> None:
    """40x32 inside 40x40: IoU 0.8, so right at 0.50 to 0.80, seven of ten thresholds."""
    metrics = evaluate(ONE, {5: found([[10, 10, 50, 42]], [1], [0.9])}, quick=quick)
    assert (metrics.ap50, metrics.ap75) == pytest.approx((1, 1))
    assert metrics.ap == pytest.approx(0.7)


@both
def test_a_better_scored_mistake_halves_precision(quick: bool) -> None:
    boxes: list[list[float]] = [[100, 100, 140, 140], [10, 10, 50, 50]]
    metrics = evaluate(ONE, {5: found(boxes, [1, 1], [0.9, 0.8])}, quick=quick)
    assert metrics.ap == pytest.approx(0.5)


@both
def test_a_second_detection_of_one_box_is_wrong_but_comes_too_late_to_matter(quick: bool) -> None:
    boxes: list[list[float]] = [[10, 10, 50, 50], [10, 10, 50, 50]]
    assert evaluate(ONE, {5: found(boxes, [1, 1], [0.9, 0.8])}, quick=quick).ap == pytest.approx(1)


@both
def test_one_of_two_boxes_found(quick: bool) -> None:
    """Precision 1 up to recall 0.5: 51 of the 101 points."""
    two = split(image(5, [[10, 10, 50, 50], [100, 100, 150, 150]], [1, 1]))
    metrics = evaluate(two, {5: found([[10, 10, 50, 50]], [1], [0.9])}, quick=quick)
    assert metrics.ap == pytest.approx(51 / 101)


@both
def test_detections_of_a_crowd_are_neither_right_nor_wrong(quick: bool) -> None:
    with_crowd = split(
        image(5, [[100, 100, 200, 200], [10, 10, 50, 50]], [1, 1], crowd=[True, False])
    )
    inside: list[list[float]] = [[110, 110, 130, 130], [150, 150, 170, 170], [10, 10, 50, 50]]
    metrics = evaluate(with_crowd, {5: found(inside, [1, 1, 1], [0.9, 0.8, 0.7])}, quick=quick)
    assert metrics.ap == pytest.approx(1)


@both
def test_no_detections_give_zeros(quick: bool) -> None:
    nothing: list[Any] = [{}, {5: found([], [], [])}]
    for detections in nothing:
        metrics = evaluate(ONE, detections, quick=quick)
        assert (metrics.ap, metrics.ap50, metrics.ap75) == (0, 0, 0)
        assert metrics.per_class["cup"].ap == 0


@both
def test_without_boxes_nothing_can_be_said(quick: bool) -> None:
    metrics = evaluate(split(image(5, [], [])), {5: found([[0, 0, 9, 9]], [1], [1])}, quick=quick)
    assert math.isnan(metrics.ap)
    assert metrics.to_dict()["ap"] is None
    json.dumps(metrics.to_dict(), allow_nan=False)


@both
def test_sizes_and_numbers_of_detections(quick: bool) -> None:
    """A 20² box (small) found second, a 150² one (large) missed: AR1 0, AR10 one half."""
    sizes = split(image(5, [[0, 0, 20, 20], [50, 50, 200, 200]], [1, 1]))
    boxes: list[list[float]] = [[100, 0, 120, 20], [0, 0, 20, 20]]
    metrics = evaluate(sizes, {5: found(boxes, [1, 1], [0.9, 0.8])}, quick=quick)
    assert (metrics.ar1, metrics.ar10, metrics.ar100) == (0, 0.5, 0.5)
    assert (metrics.ar_small, metrics.ar_large) == (1, 0)
    assert (metrics.ap_small, metrics.ap_large) == (pytest.approx(0.5), 0)
    assert math.isnan(metrics.ap_medium)


@both
def test_common_classes_have_ten_boxes(quick: bool) -> None:
    images = [image(i, [[10, 10, 50, 50]], [1]) for i in range(10)]
    images += [image(20 + i, [[10, 10, 50, 50]], [2]) for i in range(9)]
    right = {i: found([[10, 10, 50, 50]], [1], [0.9]) for i in range(10)}
    metrics = evaluate(split(*images), right, quick=quick)
    assert (metrics.ap, metrics.ap_common) == pytest.approx((0.5, 1))
    assert metrics.per_class["bolt"] == ClassNumbers(boxes=9, ap=0, ap50=0)
    assert metrics.per_class["cup"].boxes == 10


@both
def test_crowds_are_no_boxes_of_a_class(quick: bool) -> None:
    crowded = split(image(5, [[0, 0, 50, 50], [60, 60, 90, 90]], [1, 1], crowd=[True, False]))
    assert evaluate(crowded, {}, quick=quick).per_class["cup"].boxes == 1


@both
def test_classes_of_one_name_stay_apart(quick: bool) -> None:
    twins = split(image(5, [[10, 10, 50, 50]], [1]), classes=2)
    for category in twins.categories:
        category.name = "cup"
    metrics = evaluate(twins, {5: found([[10, 10, 50, 50]], [1], [0.9])}, quick=quick)
    assert {name: own.boxes for name, own in metrics.per_class.items()} == {
        "cup (7)": 1,
        "cup (3)": 0,
    }


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ({6: found([], [], [])}, "image 6, which val doesn't hold"),
        ({5: found([[0, 0, 1, 1]], [0], [1])}, r"image 5 have labels outside 1\.\.3"),
        ({5: found([[0, 0, 1, 1]], [4], [1])}, r"image 5 have labels outside 1\.\.3"),
        ({5: found([[0, 0, math.nan, 1]], [1], [1])}, "image 5 hold numbers that aren't finite"),
        ({5: found([[0, 0, 1, 1]], [1], [math.nan])}, "image 5 hold numbers that aren't finite"),
    ],
)
@both
def test_what_cannot_be_judged_is_refused(detections: Any, message: str, quick: bool) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(ONE, detections, quick=quick)


@both
def test_more_than_a_hundred_detections_of_a_class(quick: bool) -> None:
    """The box is found by the 101st, which COCO doesn't look at."""
    boxes = [[100.0, 100, 140, 140]] * 100 + [[10.0, 10, 50, 50]]
    scores = np.linspace(0.9, 0.1, 101).tolist()
    assert evaluate(ONE, {5: found(boxes, [1] * 101, scores)}, quick=quick).ap == 0


def test_the_reference_is_pycocotools_fed_with_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, detections = random_case(3)
    metrics = evaluate(case, detections)
    assert capsys.readouterr().out == ""
    judge = through_files(tmp_path, case, detections)
    numbers = metrics.to_dict()
    per_class = numbers.pop("per_class")
    del numbers["ap_common"]
    assert list(numbers.values()) == pytest.approx(_known(judge.stats), abs=1e-9)
    # Theirs are by id, ours by name in the order of the labels.
    columns = np.argsort(np.argsort([category.id for category in case.categories]))
    aps = judge.eval["precision"][:, :, columns, 0, -1]  # (T, 101, K)
    assert [own["ap"] for own in per_class.values()] == pytest.approx(
        _known(aps.mean(axis=(0, 1))), abs=1e-9
    )
    assert [own["ap50"] for own in per_class.values()] == pytest.approx(
        _known(aps[0].mean(axis=0)), abs=1e-9
    )


def _known(values: Any) -> list[float | None]:
    return [None if value == -1 else float(value) for value in values]
