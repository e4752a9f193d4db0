"""Matching and the box code, against torchvision and hand-made cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from nas.models.box_coder import RETINANET_BOX_CODER as RETINANET
from nas.models.matcher import match

ANCHORS = torch.tensor(
    [
        *([0.0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]),
        [0, 0, 20, 20],
    ]
)


def matched(boxes: list[list[float]], labels: list[int]) -> dict[int, int]:
    """Object by anchor, of one picture."""
    found = match(ANCHORS, torch.tensor([boxes]), torch.tensor([labels]), threshold=0.5)
    assert found.images.tolist() == [0] * len(found.anchors)
    return dict(zip(found.anchors.tolist(), found.objects.tolist(), strict=True))


@pytest.mark.parametrize(
    ("boxes", "labels", "expected"),
    [
        # Equal to one anchor; IoU 1/4 with the large one.
        ([[0.0, 0, 10, 10]], [1], {0: 0}),
        # IoU exactly 1/2 with anchors 0 and 1 (100 of 200), and with the large one.
        ([[0.0, 0, 20, 10]], [1], {0: 0, 1: 0, 4: 0}),
        # Just less: 95 of 200 with each small one; the large one, 190 of 400, isn't best either.
        ([[0.0, 0, 20, 9.5]], [1], {0: 0}),
        # Tiny, 1 of 100: forced onto its best anchor.
        ([[2.0, 2, 3, 3]], [1], {0: 0}),
        # Two objects whose best anchor is the same: the first takes it.
        ([[2.0, 2, 3, 3], [5, 5, 7, 7]], [1, 2], {0: 0}),
        ([[5.0, 5, 7, 7], [2, 2, 3, 3]], [2, 1], {0: 0}),
        # A forced match beats a better fit of another object.
        ([[10.0, 10, 20, 20], [11, 11, 12, 12]], [1, 1], {3: 0}),
        ([[11.0, 11, 12, 12], [10, 10, 20, 20]], [1, 1], {3: 0}),
        # Outside of all anchors: nothing to take.
        ([[30.0, 30, 40, 40]], [1], {}),
        # Padding matches nothing, whatever its box.
        ([[0.0, 0, 10, 10], [10, 10, 20, 20]], [1, 0], {0: 0}),
        ([[0.0, 0, 10, 10]], [0], {}),
    ],
)
def test_hand_made_cases(
    boxes: list[list[float]], labels: list[int], expected: dict[int, int]
) -> None:
    assert matched(boxes, labels) == expected


def test_pictures_of_a_batch_are_matched_apart() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 0, 0]], [[10, 10, 20, 20], [0, 0, 20, 20]]])
    labels = torch.tensor([[3, 0], [1, 2]])
    found = match(ANCHORS, boxes, labels, 0.5)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == [
        *((0, 0, 0), (1, 3, 0)),
        (1, 4, 1),
    ]


@pytest.mark.parametrize("most", [0, 3])
def test_no_objects_match_no_anchor(most: int) -> None:
    labels = torch.zeros(2, most, dtype=torch.int64)
    found = match(ANCHORS, torch.zeros(2, most, 4), labels, 0.5)
    assert [len(part) for part in found] == [0, 0, 0]


def random_boxes(generator: torch.Generator, count: int, side: float = 64) -> Tensor:
    corner = torch.rand(count, 2, generator=generator) * side
    size = torch.rand(count, 2, generator=generator) * side / 2 + 1
    return torch.cat([corner, corner + size], dim=1)


@pytest.mark.parametrize("seed", range(20))
def test_random_cases_by_brute_force(seed: int) -> None:
    """The rule written as loops: best object at the threshold, then every object's own anchor."""
    generator = torch.Generator().manual_seed(seed)
    anchors, objects = random_boxes(generator, 60), random_boxes(generator, 6)
    iou = box_iou(objects, anchors)
    expected: dict[int, int] = {}
    for anchor in range(60):
        best = int(iou[:, anchor].argmax())
        if iou[best, anchor] >= 0.4:
            expected[anchor] = best
    for one in reversed(range(6)):
        if iou[one].max() > 0:
            expected[int(iou[one].argmax())] = one
    found = match(anchors, objects[None], torch.ones(1, 6, dtype=torch.int64), 0.4)
    pairs = zip(found.anchors.tolist(), found.objects.tolist(), strict=True)
    assert dict(pairs) == expected


def test_the_code_is_torchvision_s_in_another_order() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, anchors = random_boxes(generator, 50), random_boxes(generator, 50)
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    expected = coder.encode_single(boxes, anchors)[:, [1, 0, 3, 2]]
    code = RETINANET.encode(boxes, anchors)
    torch.testing.assert_close(code, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(RETINANET.decode(code, anchors), boxes, atol=1e-4, rtol=1e-5)
    wild = 10 * torch.randn(50, 4, generator=generator)
    theirs = coder.decode_single(wild[:, [1, 0, 3, 2]], anchors)
    torch.testing.assert_close(RETINANET.decode(wild, anchors), theirs, atol=1e-2, rtol=1e-5)


def test_a_worked_code() -> None:
    """From a 20×10 anchor at the origin to a 10×20 box: centre (15, 25)."""
    code = RETINANET.encode(torch.tensor([[10.0, 15, 20, 35]]), torch.tensor([[0.0, 0, 20, 10]]))
    expected = [(25 - 5) / 10, (15 - 10) / 20, math.log(20 / 10), math.log(10 / 20)]
    assert code[0].tolist() == pytest.approx(expected)


def test_flat_boxes_have_finite_codes() -> None:
    assert (
        RETINANET.encode(torch.tensor([[5.0, 5, 5, 5]]), torch.tensor([[0.0, 0, 9, 9]]))
        .isfinite()
        .all()
    )
