from __future__ import annotations

import math

import numpy as np
import pytest

from nas.errors import DataError
from nas.evaluation.bootstrap import ap50_difference, block_weights
from nas.evaluation.coco import evaluate
from nas.evaluation.matching import match_classes
from tests.evaluation.cases import found, image, random_case, split


def test_the_value_is_the_difference_of_ap50() -> None:
    case, first = random_case(1)
    second = dict(list(first.items())[::2])
    difference = ap50_difference(case, first, second, draws=50)
    expected = evaluate(case, first).ap50 - evaluate(case, second).ap50
    assert difference.value == pytest.approx(expected, abs=1e-12)
    assert difference.low <= difference.value <= difference.high


def test_a_detector_does_not_differ_from_itself() -> None:
    case, detections = random_case(2)
    difference = ap50_difference(case, detections, detections, draws=20)
    assert (difference.low, difference.value, difference.high) == (0, 0, 0)
    assert not difference.distinguishable


def test_weights_count_an_image_as_often_as_copies_of_it_would() -> None:
    """A draw by weights equals evaluating a split in which images stand several times."""
    case, detections = random_case(4, images=8)
    copies = [2, 0, 1, 3, 1, 0, 1, 0]
    images, again = [], {}
    for original, count in zip(case.images, copies, strict=True):
        for copy in range(count):
            twin = image(
                0, original.boxes.tolist(), original.labels.tolist(), original.crowd.tolist()
            )
            twin.id = original.id * 10 + copy
            images.append(twin)
            if original.id in detections:
                again[twin.id] = detections[original.id]
    expected = evaluate(split(*images), again).ap50
    weights = np.array([copies, np.ones(8)])
    aps = [m.average_precision(0, weights) for m in match_classes(case, detections)]
    both = np.nanmean(aps, axis=0)
    assert both[0] == pytest.approx(expected, abs=1e-12)
    assert both[1] == pytest.approx(evaluate(case, detections).ap50, abs=1e-12)


def test_the_interval_of_a_share_is_the_binomials() -> None:
    """One box an image, half of them found without mistakes: AP50 is close to the share found.

    The standard error of a share of 0.5 in 400 is 0.025, so the interval is about 0.098 wide.
    """
    case = split(*(image(i, [[10, 10, 50, 50]], [1]) for i in range(400)))
    lucky = np.random.default_rng(0).permutation(400)[:200].tolist()
    half = {i: found([[10, 10, 50, 50]], [1], [0.5]) for i in lucky}
    difference = ap50_difference(case, half, {}, draws=300, block=1)
    assert difference.value == pytest.approx(0.5, abs=0.01)
    assert difference.high - difference.low == pytest.approx(0.098, abs=0.02)
    assert difference.distinguishable


def test_blocks_widen_the_interval_when_neighbours_are_alike() -> None:
    case = split(*(image(i, [[10, 10, 50, 50]], [1]) for i in range(200)))
    runs = {i: found([[10, 10, 50, 50]], [1], [0.5]) for i in range(200) if i // 20 % 2}
    narrow = ap50_difference(case, runs, {}, draws=200, block=1)
    wide = ap50_difference(case, runs, {}, draws=200, block=20)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("number", "block"), [(10, 1), (10, 3), (10, 10), (7, 2)])
def test_weights_sum_to_the_number_of_images(number: int, block: int) -> None:
    weights = block_weights(np.random.default_rng(0), number, block)
    assert weights.sum() == number and len(weights) == number
    assert (weights >= 0).all() and not math.isnan(weights.max())


def test_one_block_of_all_images_draws_each_once() -> None:
    """Whole circles: every draw is the split itself, so the interval has no width."""
    case, first = random_case(5, images=9)
    second = dict(list(first.items())[::2])
    whole = ap50_difference(case, first, second, draws=5, block=9)
    assert whole.low == pytest.approx(whole.value) and whole.high == pytest.approx(whole.value)


def test_weights_are_circular_runs() -> None:
    """Two runs of three in a circle of six: each image counts as often as runs cover it."""
    runs = [np.roll([1, 1, 1, 0, 0, 0], start) for start in range(6)]
    legal = {tuple(one + other) for one in runs for other in runs}
    rng = np.random.default_rng(1)
    drawn = {tuple(block_weights(rng, 6, 3).astype(int).tolist()) for _ in range(400)}
    assert drawn == legal


def test_equal_seeds_give_equal_intervals_and_blocks_are_the_root_of_the_images() -> None:
    case, first = random_case(6, images=30)
    second = dict(list(first.items())[::2])
    one, again, other = (
        ap50_difference(case, first, second, draws=60, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again and one.block == 5
    assert (one.low, one.high) != (other.low, other.high) and one.value == other.value


def test_a_higher_confidence_widens_the_interval() -> None:
    case, first = random_case(7)
    second = dict(list(first.items())[::2])
    narrow, wide = (
        ap50_difference(case, first, second, draws=200, confidence=share) for share in (0.5, 0.99)
    )
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_draws_without_a_box_do_not_count() -> None:
    case = split(image(0, [[10, 10, 50, 50]], [1]), image(1, [], []), image(2, [], []))
    right = {0: found([[10, 10, 50, 50]], [1], [0.5])}
    difference = ap50_difference(case, right, {}, draws=50, block=1)
    assert (difference.low, difference.value, difference.high) == pytest.approx((1, 1, 1))


def test_detections_of_another_split_are_refused() -> None:
    case, detections = random_case(8)
    with pytest.raises(DataError, match="image 5000, which val doesn't hold"):
        ap50_difference(case, detections, {5000: found([], [], [])})
