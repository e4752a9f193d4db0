from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.evaluation.precision_recall import precision_recall
from nas.report.precision_recall import precision_recall_png
from tests.evaluation.cases import found, grid_case, image, split, through_files

PNG = b"\x89PNG"


def test_one_mistake_before_the_second_hit() -> None:
    """Right, wrong, right of two boxes: precision 1 to recall 1/2, and 2/3 from there on."""
    case = split(image(1, [[0, 0, 40, 40], [60, 60, 100, 100]], [1, 1]))
    boxes: list[list[float]] = [[0, 0, 40, 40], [150, 150, 190, 190], [60, 60, 100, 100]]
    curves = precision_recall(case, {1: found(boxes, [1, 1, 1], [0.9, 0.8, 0.7])})
    assert list(curves.per_class) == ["cup"]  # the others have no box
    expected = [1.0] * 51 + [2 / 3] * 50
    assert curves.per_class["cup"].tolist() == pytest.approx(expected)
    assert curves.means[0.5].tolist() == curves.means[0.75].tolist() == pytest.approx(expected)


def test_above_the_last_recall_precision_is_zero() -> None:
    case = split(image(1, [[0, 0, 40, 40], [60, 60, 100, 100]], [1, 1]))
    curves = precision_recall(case, {1: found([[0, 0, 40, 40]], [1], [0.9])})
    assert curves.per_class["cup"].tolist() == pytest.approx([1.0] * 51 + [0.0] * 50)
    assert precision_recall(case, {}).means[0.5].tolist() == [0.0] * 101


def test_curves_are_those_of_pycocotools(tmp_path: Path) -> None:
    case, detections = grid_case(4)
    theirs = through_files(tmp_path, case, detections).eval["precision"][:, :, :, 0, -1]
    by_id = sorted(case.categories, key=lambda category: category.id)
    curves = precision_recall(case, detections)
    for k, category in enumerate(by_id):
        if theirs[0, 0, k] == -1:
            assert category.name not in curves.per_class
        else:
            assert curves.per_class[category.name] == pytest.approx(theirs[0, :, k], abs=1e-9)
    known = theirs[0, 0] > -1
    assert known.sum() == 2
    for threshold, iou in ((0, 0.5), (5, 0.75)):
        expected = theirs[threshold][:, known].mean(axis=1)
        assert curves.means[iou] == pytest.approx(expected, abs=1e-9)


def test_without_boxes_there_is_no_curve() -> None:
    curves = precision_recall(split(image(1, [], [])), {})
    assert not curves.per_class and np.isnan(curves.means[0.5]).all()
    assert precision_recall_png(curves).startswith(PNG)


@pytest.mark.parametrize("classes", [1, 10, 31])
def test_the_picture_is_drawn_for_few_classes_and_many(classes: int) -> None:
    case = split(
        *(image(k, [[0, 0, 40, 40]], [k + 1]) for k in range(classes)), classes=max(3, classes)
    )
    case.categories[0].name = "$x^{"  # no formula
    curves = precision_recall(case, {0: found([[0, 0, 40, 40]], [1], [0.9])})
    assert len(curves.per_class) == classes
    assert precision_recall_png(curves).startswith(PNG)
