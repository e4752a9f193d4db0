"""SSDlite320 with MobileNetV3-Large against torchvision's class with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from nas.cost import profile
from nas.errors import GenomeError
from nas.models import Detector, build
from nas.models.box_coder import SSD_BOX_CODER
from nas.models.heads.anchor_head import RawOutputs
from nas.models.losses import hardest_negatives
from nas.models.matcher import match
from tests.genome.counting import published
from tests.models.ssdlite import NAME, SIZE, boxes_of, raw_of, theirs, twin
from tests.models.tiny import built, pictures

CLASSES = 21


@pytest.fixture(scope="module")
def other() -> SSD:
    return theirs(CLASSES)


@pytest.fixture(scope="module")
def model(other: SSD, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return twin(other, CLASSES, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def raw(other: SSD, model: Detector) -> tuple[RawOutputs, dict[str, Tensor]]:
    images = pictures(4, SIZE)
    with torch.no_grad():
        return model.raw(images), raw_of(other, model.normalize(images))


# --- sizes and counts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_classes", "params"), [(91, 3_440_060), (81, 3_301_460), (21, 2_469_860), (2, 2_206_520)]
)
def test_parameters_are_torchvision_s(num_classes: int, params: int) -> None:
    genome = published(NAME)
    with torch.device("meta"):
        model = build(genome, num_classes)
    assert sum(p.numel() for p in model.parameters()) == params
    assert profile(genome, num_classes=num_classes).params == params


def test_multiply_adds_are_torchvision_s() -> None:
    """By part: up to the first map, from there to the second, extra blocks, class and box head."""
    counted = profile(published(NAME))
    assert counted.macs == 583_171_904
    assert counted.backbone_macs == 340_151_808 + 29_112_192 + 18_070_976
    assert counted.macs - counted.backbone_macs == 184_846_080 + 10_990_848
    assert counted.backbone_params == 2_072_672


def test_layers_are_counted_as_torchvision_s() -> None:
    with torch.device("meta"):
        model = build(published(NAME), 91)
    layers = list(model.modules())
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert (len(norms), len(convs)) == (70, 98)
    assert sum(conv.weight.numel() for conv in convs) == 3_399_816
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_first_weights_are_normal_throughout() -> None:
    """torchvision draws every convolution without pretraining from N(0, 0.03)."""
    model = built(published(NAME), CLASSES)
    convs = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    weights = torch.cat([conv.weight.detach().flatten() for conv in convs])
    assert weights.std().item() == pytest.approx(0.03, rel=0.01)
    assert weights.mean().abs() < 1e-4
    for conv in convs:
        if conv.weight.numel() > 500:
            assert conv.weight.std().item() == pytest.approx(0.03, rel=0.15)
        assert conv.bias is None or not conv.bias.any()


# --- default boxes ----------------------------------------------------------------------------


def test_default_boxes_are_torchvision_s(model: Detector, other: SSD) -> None:
    (expected,) = boxes_of(other, torch.zeros(1, 3, SIZE, SIZE))
    torch.testing.assert_close(model.head.anchors, expected, rtol=1e-5, atol=1e-4)


def test_default_boxes_by_published_numbers(model: Detector) -> None:
    boxes = model.head.anchors.double() / SIZE
    sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    whole = torch.cat([centres, sides], dim=1)
    assert len(whole) == 2400 + 600 + 150 + 54 + 24 + 6 == 3234
    for index, expected in {
        0: (0.025, 0.025, 0.2, 0.2),
        1: (0.025, 0.025, 0.264575, 0.264575),
        2400: (0.05, 0.05, 0.35, 0.35),
        3233: (0.5, 0.5, 0.548483, 1.0),
    }.items():
        assert whole[index].tolist() == pytest.approx(expected, abs=1e-6)
    assert whole.sum(dim=0).tolist() == pytest.approx([1617, 1617, 915.4018, 915.4018], abs=1e-3)


# --- raw outputs ------------------------------------------------------------------------------


def test_raw_outputs_are_torchvision_s(raw: tuple[RawOutputs, dict[str, Tensor]]) -> None:
    ours, expected = raw
    assert ours.logits.shape == (4, 3234, CLASSES) and ours.deltas.shape == (4, 3234, 4)
    for mine, name in ((ours.logits, "cls_logits"), (ours.deltas, "bbox_regression")):
        wanted = expected[name]
        assert 0.1 < wanted.std() < 100
        assert (mine - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# --- matching ---------------------------------------------------------------------------------


def test_matching_by_published_cases(model: Detector) -> None:
    anchors = model.head.anchors
    large, small = torch.tensor([[100.0, 100, 228, 228]]), torch.tensor([[10.0, 10, 20, 20]])
    found = match(anchors, large[None], torch.ones(1, 1).long(), 0.5, claim="last")
    assert len(found.anchors) == 19
    assert ((found.anchors >= 2400) & (found.anchors < 3000)).sum() == 16
    assert ((found.anchors >= 3000) & (found.anchors < 3150)).sum() == 3
    iou = box_iou(large, anchors)[0]
    best = int(iou.argmax())
    assert (best, iou[best].item()) == (2731, pytest.approx(0.70167, abs=1e-5))
    found = match(anchors, small[None], torch.ones(1, 1).long(), 0.5, claim="last")
    assert found.anchors.tolist() == [0]
    assert box_iou(small, anchors[:1]).item() == pytest.approx(0.024414, abs=1e-6)


def test_a_worked_code() -> None:
    box, anchor = torch.tensor([[100.0, 100, 228, 228]]), torch.tensor([[96.0, 96, 224, 224]])
    deltas = torch.tensor([[0.3125, 0.3125, 0.0, 0.0]])
    assert torch.equal(SSD_BOX_CODER.encode(box, anchor), deltas)
    torch.testing.assert_close(
        SSD_BOX_CODER.decode(torch.tensor([[0.3125, 0.3125, 0, 0]]), anchor), box
    )


@pytest.mark.parametrize("seed", range(10))
def test_matches_are_torchvision_s(model: Detector, other: SSD, seed: int) -> None:
    boxes, labels = objects(seed, [7])
    if seed % 2:
        boxes[0, 3] = boxes[0, 1]  # two objects claim one box: the last gets it
    expected = other.proposal_matcher(box_iou(boxes[0], model.head.anchors))
    found = match(model.head.anchors, boxes, labels, 0.5, claim="last")
    mine = torch.full_like(expected, -1)
    mine[found.anchors] = found.objects
    assert torch.equal(mine, expected.clamp(min=-1))


# --- losses -----------------------------------------------------------------------------------


def objects(seed: int, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Random boxes inside the input and labels, padded."""
    generator = torch.Generator().manual_seed(seed)
    most = max(counts)
    centre = SIZE * torch.rand(len(counts), most, 2, generator=generator)
    half = 4 + 80 * torch.rand(len(counts), most, 2, generator=generator)
    boxes = torch.cat([centre - half, centre + half], dim=-1).clamp(0, SIZE)
    labels = torch.randint(1, CLASSES, (len(counts), most), generator=generator)
    kept = torch.arange(most) < torch.tensor(counts)[:, None]
    return boxes * kept[:, :, None], labels * kept


def their_losses(
    other: SSD, raw: dict[str, Tensor], anchors: Tensor, boxes: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """As the forward of torchvision's SSD computes them."""
    targets, matches = [], []
    for box, label in zip(boxes, labels, strict=True):
        kept = label > 0
        targets.append({"boxes": box[kept], "labels": label[kept]})
        found = torch.full((len(anchors),), -1)
        if kept.any():
            found = other.proposal_matcher(box_iou(box[kept], anchors))
        matches.append(found)
    losses = other.compute_loss(targets, raw, [anchors] * len(boxes), matches)
    return {"classification": losses["classification"], "box_regression": losses["bbox_regression"]}


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(
    "counts", [[3, 1, 6, 2], [0, 4, 0, 1], [0, 0, 0, 0], [9, 9, 9, 9], [0, 0, 0, 1]]
)
@pytest.mark.parametrize("seed", range(2))
def test_losses_and_gradients_are_torchvision_s(
    model: Detector, other: SSD, counts: list[int], seed: int, separable: bool
) -> None:
    """From the same maps; those of a full head go through its own predictors first."""
    boxes, labels = torch.zeros(4, 2, 4), torch.zeros(4, 2).long()
    if any(counts):
        boxes, labels = objects(seed, counts)
    with torch.no_grad():
        maps = model.features(model.normalize(pictures(4, SIZE, seed)))
    head = model.head
    if not separable:
        genome = model.genome
        head = built(genome.replace(head=genome.head.replace(separable=False)), CLASSES).head.eval()
    first, second = ([x.clone().requires_grad_() for x in maps] for _ in range(2))
    losses = head.losses(first, boxes, labels)
    if separable:
        raw = other.head(second)
    else:
        logits, code = head(second)
        raw = {"cls_logits": logits, "bbox_regression": code}
    expected = their_losses(other, raw, model.head.anchors, boxes, labels)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-7)
    torch.stack(list(losses.values())).sum().backward()
    torch.stack(list(expected.values())).sum().backward()
    for mine, wanted in zip(first, second, strict=True):
        assert mine.grad is not None and wanted.grad is not None
        largest = max(wanted.grad.abs().max().item(), 1e-6)
        assert (mine.grad - wanted.grad).abs().max() <= 1e-4 * largest
    head.zero_grad()


def test_a_training_step_is_torchvision_s(tmp_path: Path) -> None:
    """From the same pixels, weights and targets, in the memory format of a training, float64."""
    mine = twin(theirs(CLASSES), CLASSES, tmp_path).double().train()
    mine = mine.to(memory_format=torch.channels_last)
    them = theirs(CLASSES).double().train()
    boxes, labels = objects(5, [3, 0])
    images = mine.normalize(pictures(2, SIZE).double() / 255)
    expected = their_losses(them, raw_of(them, images), mine.head.anchors, boxes.double(), labels)
    images = images.contiguous(memory_format=torch.channels_last)
    losses = mine.head.losses(mine.features(images), boxes.double(), labels)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].double(), value, rtol=1e-5, atol=0)
    torch.stack(list(expected.values())).sum().backward()
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in mine.parameters())
    for of in ("grad", "data"):
        found = [getattr(p, of).norm() for p in mine.parameters()]
        wanted = [getattr(p, of).norm() for p in them.parameters()]
        assert_same_numbers(found, wanted)
    statistics = [b.norm() for n, b in mine.named_buffers() if "running" in n]
    assert_same_numbers(statistics, [b.norm() for n, b in them.named_buffers() if "running" in n])


def assert_same_numbers(found: list[Tensor], wanted: list[Tensor]) -> None:
    """In whatever order the layers are listed."""
    first, second = (torch.stack(numbers).sort().values for numbers in (found, wanted))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-9)


def test_hardest_negatives_by_hand() -> None:
    losses = torch.tensor([[5.0, 1, 4, 2, 3, 0], [1, 2, 3, 4, 5, 6], [9, 9, 9, 9, 9, 9]])
    positive = torch.zeros(3, 6).bool()
    positive[0, 0] = positive[1, 4] = positive[1, 5] = True
    images, places = hardest_negatives(losses, positive, 1.5)
    found = sorted(zip(images.tolist(), places.tolist(), strict=True))
    # One positive has ceil(1.5) = 2; two have 3; none has none.
    assert found == [(0, 2), (0, 4), (1, 1), (1, 2), (1, 3)]
    images, places = hardest_negatives(losses, positive, 100)
    assert sorted(places[images == 0].tolist()) == [1, 2, 3, 4, 5]  # never a positive
    assert (images < 2).all()


# --- detections -------------------------------------------------------------------------------


@pytest.mark.parametrize("sharpness", [1.0, 0.2, 0.02])
def test_detections_are_torchvision_s(
    model: Detector, other: SSD, raw: tuple[RawOutputs, dict[str, Tensor]], sharpness: float
) -> None:
    """From hundreds of candidates to all of them, since flat logits pass the threshold too."""
    shared = {
        "cls_logits": sharpness * raw[1]["cls_logits"],
        "bbox_regression": raw[1]["bbox_regression"],
    }
    anchors = [model.head.anchors] * 4
    expected = other.postprocess_detections(shared, anchors, [(SIZE, SIZE)] * 4)
    found = model.head.postprocess(RawOutputs(shared["cls_logits"], shared["bbox_regression"]))
    for mine, wanted in zip(found, expected, strict=True):
        assert len(wanted["scores"]) == 300
        first, second = ordered(mine), ordered(wanted)
        assert torch.equal(first["labels"], second["labels"])
        torch.testing.assert_close(first["scores"], second["scores"], rtol=1e-5, atol=0)
        torch.testing.assert_close(first["boxes"], second["boxes"], rtol=1e-5, atol=1e-3)


def ordered(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Detections of equal score by label and box, since neither side promises their order."""
    columns = (-found["scores"], found["labels"], *found["boxes"].T)
    keys = list(zip(*(column.tolist() for column in columns), strict=True))
    order = torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))
    return {name: value[order] for name, value in found.items()}


def test_detections_of_whole_pictures_are_torchvision_s(tmp_path: Path) -> None:
    """At 320 px neither side resizes; in float64, so that rounding decides next to nothing."""
    other = theirs(CLASSES)
    mine = twin(other, CLASSES, tmp_path).double()
    images = [image.double() / 255 for image in pictures(2, SIZE, seed=3)]
    with torch.no_grad():
        expected = other.double()(images)
    for found, wanted in zip(mine(images), expected, strict=True):
        assert isinstance(found, dict) and len(wanted["scores"]) == 300
        near = (found["scores"][:, None] - wanted["scores"]).abs() < 1e-5
        near &= found["labels"][:, None] == wanted["labels"]
        near &= (found["boxes"][:, None] - wanted["boxes"]).abs().amax(dim=2) < 1e-2
        assert near.any(dim=1).float().mean() > 0.99


def test_background_competes_and_is_never_detected(model: Detector) -> None:
    logits = torch.zeros(1, 3234, CLASSES)
    logits[..., 0] = 20
    (found,) = model.head.postprocess(RawOutputs(logits, torch.zeros(1, 3234, 4)))
    assert len(found["scores"]) == 0


# --- other heads of the kind ------------------------------------------------------------------


def test_box_values_of_bidet_are_refused_in_one_line() -> None:
    genome = published(NAME)
    head = genome.head.replace(box_values=8)
    with pytest.raises(GenomeError, match=r"box_values 8.*legal to build: 4") as caught:
        build(genome.replace(head=head), 4)
    assert len(str(caught.value).splitlines()) == 1


def test_full_convolutions_predict_and_count() -> None:
    """Per map: C·9·outputs weights and as many biases as outputs."""
    genome = published(NAME)
    genome = genome.replace(head=genome.head.replace(separable=False))
    model = built(genome, 4).train()
    widths = [672, 480, 512, 256, 256, 128]
    expected = sum(c * 9 * 6 * k + 6 * k for c in widths for k in (4, 4))
    assert sum(p.numel() for p in model.head.parameters()) == expected
    counted = profile(genome, num_classes=4)
    assert counted.params - counted.backbone_params == expected
    boxes, labels = torch.tensor([[[20.0, 20, 70, 80]]] * 2), torch.tensor([[1]] * 2)
    losses = model.losses(pictures(2, SIZE), boxes, labels)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.head.parameters())
