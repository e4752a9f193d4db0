"""Detectors learn eight scenes by heart: the whole way from pixels to AP.

COCO's AP, the mean over IoUs up to 0.95, has to be above 0.95 after at most 400 steps.  Batch norms
are judged in evaluation mode, by statistics with a momentum of 0.1 in torch's sense.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from nas.data.batches import TrainBatches
from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.scenes import write_scenes
from nas.evaluation.coco import evaluate
from nas.evaluation.predict import predict_split
from nas.models import build
from nas.training.loop import train
from nas.training.recipes import resolve
from search_spaces import zoo

IMAGES, ENOUGH, MOMENTUM = 8, 0.95, 0.1


class Fit(NamedTuple):
    """How a family learns: its scale, the peak of one cycle of the rate, and steps."""

    genome: str
    width: float
    size: int
    rate: float
    steps: int
    head_width: int | None = None
    beta2: float = 0.999  # AdamW's; 0.98 forgets the large first gradients of a focal loss


SMALL = Fit("yoloret-mobilenetv2-0.75", 0.25, 160, 5e-3, 250)
"""The quickest, for the quick set."""
WIDTH_SCALED = (
    Fit("spinenet-49", 1 / 16, 128, 1e-2, 400, head_width=32, beta2=0.98),
    Fit("r0-sp53", 1 / 16, 128, 1e-2, 400, head_width=32, beta2=0.98),
    Fit("spinenet-mobile-49", 0.25, 160, 1e-2, 200, beta2=0.98),
    Fit("ssdlite320-mobilenetv3-large", 0.25, 160, 5e-3, 250),
    Fit("mobiledet-cpu", 0.25, 160, 5e-3, 250),
)
FULL_WIDTH = (
    Fit("spinenet-49", 1.0, 128, 2e-3, 200, beta2=0.98),
    Fit("spinenet-mobile-49", 1.0, 160, 3e-3, 200, beta2=0.98),
    Fit("ssdlite320-mobilenetv3-large", 1.0, 160, 3e-3, 200),
    Fit("mobiledet-cpu", 1.0, 160, 3e-3, 200),
    Fit("yoloret-mobilenetv2-0.75", 1.0, 160, 3e-3, 200),
)
"""All blocks and channels as published, on pictures small enough for a processor."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Eight scenes of 192 px with thirteen objects of three classes."""
    root = tmp_path_factory.mktemp("overfit") / "scenes"
    write_scenes(root, seed=0, images=IMAGES + 2)
    split = load_split(root, "train")
    assert len(split) == IMAGES
    return split


def learnt_by_heart(fit: Fit, scenes: Split, folder: Path) -> float:
    """AP on the images that a detector was trained on, one step an epoch."""
    genome = zoo.genome(fit.genome).scaled(
        width=fit.width, head_width=fit.head_width, input_size=fit.size
    )
    changes = {"epochs": fit.steps, "batch_size": IMAGES, "lr": fit.rate, "beta2": fit.beta2}
    fixed = {"weight_decay": 0.0, "flip": False, "bn_momentum": MOMENTUM, "threads": 1}
    recipe = resolve("short", {**changes, **fixed})
    pixels = PixelCache.open(scenes, fit.size, genome.input.resize, folder)
    torch.manual_seed(0)
    model = build(genome, 1 + len(scenes.categories))
    assert fit.steps <= 400
    for _ in train(model, TrainBatches(pixels, scenes, IMAGES, 0, flip=False), recipe, seed=0):
        pass
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and {norm.momentum for norm in norms} == {MOMENTUM}
    return evaluate(scenes, predict_split(model.eval(), pixels, scenes)).ap


def test_a_small_detector_learns_eight_images_by_heart(scenes: Split, tmp_path: Path) -> None:
    assert learnt_by_heart(SMALL, scenes, tmp_path) > ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize(
    "fit", [*WIDTH_SCALED, *FULL_WIDTH], ids=lambda fit: f"{fit.genome}-x{fit.width:g}"
)
def test_each_family_learns_eight_images_by_heart(fit: Fit, scenes: Split, tmp_path: Path) -> None:
    assert learnt_by_heart(fit, scenes, tmp_path) > ENOUGH
