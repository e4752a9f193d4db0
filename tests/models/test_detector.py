"""The detector from outside: losses, post-processing, torchvision's convention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from nas.models import Detector
from nas.models.box_coder import RETINANET_BOX_CODER
from nas.models.heads.anchor_head import RawOutputs
from tests.models.tiny import built, pictures, tiny

SIZE = 128


@pytest.fixture(scope="module")
def model() -> Detector:
    return built(tiny()).eval()


# --- losses -----------------------------------------------------------------------------------


def padded(*objects: list[tuple[list[float], int]]) -> tuple[Tensor, Tensor]:
    """Boxes `(B, M, 4)` and labels `(B, M)`."""
    most = max(len(one) for one in objects)
    boxes, labels = torch.zeros(len(objects), most, 4), torch.zeros(len(objects), most).long()
    for i, one in enumerate(objects):
        for j, (box, label) in enumerate(one):
            boxes[i, j], labels[i, j] = torch.tensor(box), label
    return boxes, labels


def test_a_batch_without_boxes_has_finite_losses_and_no_box_loss(model: Detector) -> None:
    for boxes, labels in (padded([], []), (torch.zeros(2, 5, 4), torch.zeros(2, 5).long())):
        losses = model.losses(pictures(2, SIZE), boxes, labels)
        assert losses["classification"].isfinite() and losses["classification"] > 0
        assert losses["box_regression"] == 0
        sum(losses.values()).backward()  # type: ignore[union-attr]
    model.zero_grad()


def test_padding_does_not_change_losses(model: Detector) -> None:
    images = pictures(2, SIZE)
    boxes, labels = padded([([10, 10, 60, 70], 1)], [([5, 50, 30, 90], 3), ([0, 0, 99, 99], 2)])
    wide = (
        torch.cat([boxes, torch.full((2, 4, 4), 33.0)], 1),
        torch.cat([labels, torch.zeros(2, 4).long()], 1),
    )
    first, second = model.losses(images, boxes, labels), model.losses(images, *wide)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_losses_do_not_depend_on_the_order_of_pictures(model: Detector) -> None:
    images = pictures(3, SIZE)
    boxes, labels = padded([([10, 10, 60, 70], 1)], [], [([0, 0, 99, 99], 2)])
    losses = model.losses(images, boxes, labels)
    turned = model.losses(images.flip(0), boxes.flip(0), labels.flip(0))
    for name, value in losses.items():
        torch.testing.assert_close(turned[name], value, rtol=1e-4, atol=1e-6)


def test_losses_by_the_published_formula(model: Detector) -> None:
    """Focal γ 1.5 over (positives + 1); Huber δ 0.1 over 4 (positives + 1), times 50."""
    boxes, labels = padded([([20, 20, 70, 80], 2)], [([64, 8, 96, 40], 1)])
    raw = model.raw(pictures(2, SIZE))
    anchors = model.head.anchors
    target, code = torch.zeros_like(raw.logits), torch.zeros_like(raw.deltas)
    for i in range(2):
        iou = box_iou(boxes[i], anchors)[0]
        positive = iou >= 0.5
        positive[iou.argmax()] = True
        target[i, positive, labels[i, 0]] = 1
        code[i, positive] = RETINANET_BOX_CODER.encode(
            boxes[i].expand(int(positive.sum()), 4), anchors[positive]
        )
    count = target.sum() + 1
    p = raw.logits.sigmoid()
    focal = -0.25 * (1 - p) ** 1.5 * p.log() * target
    focal = focal - 0.75 * p**1.5 * (1 - p).log() * (1 - target)
    error = (raw.deltas - code).abs()
    huber = torch.where(error < 0.1, error**2 / 2, 0.1 * (error - 0.05)) * (code != 0)
    maps = model.features(model.normalize(pictures(2, SIZE)))
    losses = model.head.losses(maps, boxes, labels)
    torch.testing.assert_close(losses["classification"], focal.sum() / count)
    torch.testing.assert_close(losses["box_regression"], 50 * huber.sum() / (4 * count))


# --- input ------------------------------------------------------------------------------------


def test_uint8_and_float_pictures_are_the_same(model: Detector) -> None:
    images = pictures(2, SIZE)
    whole, unit = model.normalize(images), model.normalize(images.float() / 255)
    torch.testing.assert_close(whole, unit, rtol=1e-5, atol=1e-5)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = (images[1, :, 5, 7] / 255 - mean) / std
    torch.testing.assert_close(whole[1, :, 5, 7], by_hand, rtol=1e-5, atol=1e-5)


# --- post-processing --------------------------------------------------------------------------


def crowded(model: Detector, seed: int, pictures: int = 2) -> RawOutputs:
    """Random logits, most below the threshold, and small shifts of the anchors."""
    generator = torch.Generator().manual_seed(seed)
    count = len(model.head.anchors)
    logits = 2.5 * torch.randn(pictures, count, 4, generator=generator) - 4
    return RawOutputs(logits, 0.2 * torch.randn(pictures, count, 4, generator=generator))


def by_brute_force(model: Detector, logits: Tensor, code: Tensor) -> list[tuple[float, int, int]]:
    """Score, class and anchor of each detection: loops over classes, torchvision's plain NMS."""
    anchors = model.head.anchors
    size, centre = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    middle = centre + code[:, [1, 0]] * size
    half = code[:, [3, 2]].exp() * size / 2
    boxes = torch.cat([middle - half, middle + half], 1).clamp(0, SIZE)
    post = model.head.settings.postprocess
    found = []
    for label in range(1, 4):
        scores = logits[:, label].sigmoid()
        above = (scores > post.score).nonzero()[:, 0]
        above = above[scores[above].argsort(descending=True)][: post.candidates]
        for place in above[nms(boxes[above], scores[above], post.iou)].tolist():
            found.append((float(scores[place]), label, place))
    return sorted(found, reverse=True)[: post.detections]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("candidates", [40, 5000])
def test_detections_by_brute_force(model: Detector, seed: int, candidates: int) -> None:
    genome = model.genome
    head = genome.head.replace(postprocess=genome.head.postprocess.replace(candidates=candidates))
    few = built(genome.replace(head=head)).eval()
    raw = crowded(few, seed)
    for i, found in enumerate(few.head.postprocess(raw)):
        expected = by_brute_force(few, raw.logits[i], raw.deltas[i])
        assert 0 < len(expected) <= 100
        torch.testing.assert_close(found["scores"], torch.tensor([s for s, _, _ in expected]))
        assert found["labels"].tolist() == [label for _, label, _ in expected]
        assert found["boxes"].shape == (len(expected), 4)
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= SIZE).all()


def test_background_is_never_detected(model: Detector) -> None:
    raw = crowded(model, 0)
    logits = torch.full_like(raw.logits, -20.0)
    logits[..., 0] = 20
    for found in model.head.postprocess(RawOutputs(logits, raw.deltas)):
        assert found["boxes"].shape == (0, 4)
        assert len(found["labels"]) == len(found["scores"]) == 0


def test_wild_predictions_stay_finite_and_inside(model: Detector) -> None:
    raw = crowded(model, 1)
    for found in model.head.postprocess(RawOutputs(raw.logits, 1e4 * raw.deltas)):
        assert found["boxes"].isfinite().all()
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= SIZE).all()


# --- torchvision's convention -----------------------------------------------------------------


class Fixed(Detector):
    """Says the same of every picture: one object, given in pixels of the input."""

    box = (32.0, 16.0, 96.0, 64.0)

    def raw(self, images: Tensor) -> RawOutputs:
        anchors = self.head.anchors
        logits = torch.full((len(images), len(anchors), self.num_classes), -20.0)
        wanted = torch.tensor([self.box])
        place = int(box_iou(wanted, anchors).argmax())
        logits[:, place, 2] = 3
        code = torch.zeros(len(images), len(anchors), 4)
        code[:, place] = RETINANET_BOX_CODER.encode(wanted, anchors[place][None])
        return RawOutputs(logits, code)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (128, 128, [32, 16, 96, 64]),
        (256, 256, [64, 32, 192, 128]),  # shrunk to a half
        (64, 128, [32, 16, 96, 64]),  # the longer side fits already
        (128, 64, [32, 16, 64, 64]),  # the box ends where the picture does
        (512, 384, [128, 64, 384, 256]),
        (32, 64, [16, 8, 48, 32]),  # enlarged twofold
    ],
)
def test_boxes_come_back_in_the_picture_s_pixels(
    height: int, width: int, expected: list[float]
) -> None:
    (found,) = Fixed(tiny(), 4).eval()([torch.rand(3, height, width)])
    assert isinstance(found, dict)
    torch.testing.assert_close(found["boxes"], torch.tensor([expected]).float(), atol=1e-3, rtol=0)
    assert found["labels"].tolist() == [2]


def test_stretched_pictures_scale_each_axis() -> None:
    genome = tiny()
    stretched = Fixed(genome.replace(input=genome.input.replace(resize="stretch")), 4).eval()
    (found,) = stretched([torch.rand(3, 256, 64)])
    assert isinstance(found, dict)
    torch.testing.assert_close(found["boxes"], torch.tensor([[16.0, 32, 48, 128]]))


def test_pictures_of_other_sizes_go_in_one_list(model: Detector) -> None:
    images = [torch.rand(3, 90, 140), torch.rand(3, 128, 128), torch.rand(3, 33, 20)]
    found = model(images)
    assert isinstance(found, list)
    assert [set(one) for one in found] == [{"boxes", "labels", "scores"}] * 3


def test_training_takes_targets_in_the_picture_s_pixels() -> None:
    model = built(tiny()).eval()  # batch norm's statistics held
    model.training = True  # the flag alone decides what is returned
    image = pictures(1, SIZE)[0]
    box, label = torch.tensor([[20.0, 20, 70, 80]]), torch.tensor([2])
    found = model([image / 255], [{"boxes": box, "labels": label}])
    assert isinstance(found, dict)
    for name, value in model.losses(image[None], box[None], label[None]).items():
        torch.testing.assert_close(found[name], value)
    # A plain picture is the same at any size, and so is what is learnt of a box in it.
    sizes = []
    for side in (64, 128, 256):
        target = {"boxes": box * side / SIZE, "labels": label}
        sizes.append(model([torch.full((3, side, side), 0.5)], [target]))
    for other in sizes[1:]:
        assert isinstance(other, dict) and isinstance(sizes[0], dict)
        torch.testing.assert_close(other["box_regression"], sizes[0]["box_regression"])


def test_training_takes_pictures_without_boxes() -> None:
    model = built(tiny()).train()
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    one = {"boxes": torch.tensor([[5.0, 5, 50, 60]]), "labels": torch.tensor([1])}
    for targets in ([none, one], [none, none]):
        losses = model([torch.rand(3, 100, 128), torch.rand(3, 64, 64)], targets)
        assert isinstance(losses, dict)
        assert all(value.isfinite() for value in losses.values())


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        built(tiny()).train()([torch.rand(3, 64, 64)])
