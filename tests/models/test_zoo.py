"""Every network of the zoo: published counts, a training step, and its ONNX file.

Counts are taken at full size; a step and an export at a size that a laptop's core does in seconds,
and once more, in the slow tests, at full width.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.cost import profile
from nas.data.coco import Category
from nas.formats.onnx.export import write
from nas.formats.onnx.verify import pictures as scenes
from nas.genome import Genome
from nas.genome.parts import RetinaNetHead
from nas.models import Detector
from nas.models.heads.retinanet import RetinaNet
from search_spaces import zoo
from tests.models.tiny import built, pictures

# Trainable parameters and GMACs of the whole detector at 91 classes and its own input size.
# SpineNets: counted from tensorflow/tpu's configurations, agreeing with what is published;
# SSDlite: torchvision's; MobileDets: counted from tensorflow/models', agreeing likewise.
COUNTS: dict[str, tuple[int, float]] = {
    "spinenet-49s": (9_089_215 + 2_176_727, 30.78),
    "spinenet-49": (21_831_488 + 6_711_895, 85.28),
    "spinenet-96": (36_262_976 + 6_711_895, 265.02),
    "spinenet-143": (60_247_616 + 6_711_895, 523.34),
    "spinenet-190": (126_587_664 + 37_049_687, 1881.7),
    "spinenet-mobile-49": (2_268_708 + 68_871, 0.981),
    "spinenet-mobile-49s": (975_678 + 54_975, 0.496),
    "spinenet-mobile-49xs": (842_456 + 30_255, 0.166),
    "ssdlite320-mobilenetv3-large": (3_440_060, 0.583),
    "ssdlite320-mobilenetv3-large-full": (5_198_540, math.nan),
    "mobiledet-cpu": (4_165_055, 0.444),
    "mobiledet-edgetpu": (4_146_543, 1.533),
    "mobiledet-dsp": (7_102_079, 2.816),
    "mobiledet-gpu": (13_069_247, 5.073),
}
UNPUBLISHED = {"r0-sp53", "yoloret-mobilenetv2-0.75", "yoloret-mobilenetv2-1.4"}

LARGE = {"spinenet-96", "spinenet-143", "spinenet-190"}
"""Those whose export takes long at any size: repeated blocks."""


def small(name: str) -> Genome:
    """A network of the zoo at a size for quick tests."""
    genome = zoo.genome(name)
    if isinstance(genome.head, RetinaNetHead):
        width = 0.5 if genome.head.separable else 1 / 16
        return genome.scaled(width=width, head_width=16, input_size=128)
    return genome.scaled(width=0.5, input_size=160)


def step(genome: Genome) -> None:
    """Trains on one batch and checks every gradient."""
    size = genome.input.size
    model = built(genome, num_classes=5).train()
    boxes = torch.tensor([[[0.1, 0.1, 0.35, 0.4], [0.3, 0.2, 0.95, 0.9]]] * 2) * size
    labels = torch.tensor([[1, 4], [2, 0]])
    losses = model.losses(pictures(2, size), boxes, labels)
    assert all(loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    found = model.eval().detect(pictures(1, size))[0]
    assert found["boxes"].shape == (len(found["scores"]), 4)


@torch.no_grad()
def lively(model: Detector) -> Detector:
    """Under weights by which pictures differ in their scores, and rounding stays small."""
    head = model.head
    seen = torch.from_numpy(np.stack(scenes((), model.genome))).permute(0, 3, 1, 2)
    mobile = isinstance(head, RetinaNet) and head.settings.separable
    for layer in (model if mobile else head).modules():  # or maps vanish in depthwise layers
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if isinstance(head, RetinaNet):
        for norm in norms:
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)
        raw = model.eval().raw(seen)
        head.class_tower.predict.weight /= raw.logits.std()
        head.box_tower.predict.weight /= 10 * raw.deltas.std()
    else:  # SSD's first weights are small, so norms have to see what they are fed.
        for norm in norms:
            norm.momentum = 1.0
        model.train().raw(pictures(16, model.genome.input.size))
    first, second = model.eval().raw(seen[:2]).logits
    assert first.std() > 0.1 and (first - second).std() > 0.05 * first.std()
    return model


def exported(genome: Genome, folder: Path) -> None:
    """Writes the ONNX file, which onnxruntime runs and compares with PyTorch on pictures."""
    model = lively(built(genome, num_classes=4))
    categories = [Category(id=i, name=f"thing {i}") for i in (3, 10, 17)]
    agreement = write(model, categories, folder / "m.onnx")
    assert agreement.pictures >= 3 and agreement.detections > 0
    assert max(agreement.raw.values()) < 1e-4


def test_every_network_has_a_row() -> None:
    assert sorted([*COUNTS, *UNPUBLISHED]) == sorted(zoo.names())


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_published_ones(name: str) -> None:
    """tests/cost/test_profile.py holds the same counts to torch's own, of every network."""
    params, gmacs = COUNTS[name]
    counted = profile(zoo.genome(name))
    assert counted.params == params
    if not math.isnan(gmacs):
        assert counted.macs / 1e9 == pytest.approx(gmacs, rel=2e-4, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "with_statistics"),
    [
        *(("mobiledet-cpu", 4_205_423), ("mobiledet-edgetpu", 4_196_095)),
        *(("mobiledet-dsp", 7_159_343), ("mobiledet-gpu", 13_109_151)),
    ],
)
def test_mobiledets_are_tensorflow_s(name: str, with_statistics: int) -> None:
    """Variables with moving statistics; 2,034 boxes, of which the first map has three a place."""
    model = built(zoo.genome(name), num_classes=91)
    statistics = [b for key, b in model.named_buffers() if ".running_" in key]
    assert sum(x.numel() for x in (*model.parameters(), *statistics)) == with_statistics
    corners = model.head.anchors
    assert len(corners) == 2034
    sides = (corners[:3, 2:] - corners[:3, :2]) / 320
    long, short = 0.2 * math.sqrt(2), 0.2 / math.sqrt(2)
    wanted = torch.tensor([[0.1, 0.1], [long, short], [short, long]])
    torch.testing.assert_close(sides, wanted)
    assert (corners[-6:, 2:] - corners[-6:, :2]).max() > 320  # not clipped


@pytest.mark.parametrize("name", zoo.names())
def test_a_training_step(name: str) -> None:
    step(small(name))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else []) for name in zoo.names()],
)
def test_the_onnx_file(name: str, tmp_path: Path) -> None:
    exported(small(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_at_full_width(name: str, tmp_path: Path) -> None:
    genome = zoo.genome(name)
    genome = genome.scaled(input_size=min(genome.input.size, 384))
    step(genome)
    if name not in LARGE:
        exported(genome, tmp_path)
