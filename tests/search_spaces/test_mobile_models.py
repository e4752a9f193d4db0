"""Networks of the mobile space as models: torch's counts, a training step, ImageNet's weights."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from nas.cost import profile
from nas.models import build
from nas.models.pretrained.loading import start_from
from search_spaces.mobile.backbones import NAMES
from search_spaces.mobile.space import MobileSpace
from tests.cost.test_profile import assert_counts_as_torch
from tests.models.test_zoo import step

CLASSIFIERS: dict[str, Any] = {
    "mobilenetv2-1.0": models.mobilenet_v2,
    "mobilenetv3-large": models.mobilenet_v3_large,
    "mobilenetv3-small": models.mobilenet_v3_small,
}


@pytest.mark.parametrize("backbone", ["searched", *NAMES])
def test_sampled_networks_count_as_torch_does_and_learn(backbone: str) -> None:
    space = MobileSpace(backbone=backbone, deploy={"input_size": 96}, input_factors=(1.0,))
    rng, necks = random.Random(1), set()
    for _ in range(8 if backbone == "searched" else 4):
        genome = space.sample(rng)
        necks.add(genome.neck.type)
        assert_counts_as_torch(genome, num_classes=3)
    assert necks == {"none", "rfcr"}
    step(genome)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_truncation_takes_the_classifier_s_weights(name: str, tmp_path: Path) -> None:
    """As torchvision has them, counted by its own names."""
    space = MobileSpace(backbone=name, deploy={"input_size": 64}, input_factors=(1.0,))
    classifier = CLASSIFIERS[name](weights=None)
    tensors = classifier.state_dict()
    torch.save(tensors, tmp_path / "classifier.pth")
    lasts = space.decisions[0].choices
    assert lasts[-1] == len(classifier.features) - 1
    for index, last in enumerate(lasts):
        kept = [f"features.{i}." for i in range(last + 1)]
        names = [n for n in tensors if n.startswith(tuple(kept)) and "num_batches" not in n]
        code = next(code for code in space.codes((index,)))
        genome = space.decode(code)
        model = build(genome, num_classes=3)
        loaded = start_from(model, tmp_path / "classifier.pth")
        assert loaded.loaded == len(names)
        rows = [row for row in profile(genome).table if row.kind == "block"]
        own = sum(row.params for row in rows if not row.name.startswith("extra"))
        assert own == sum(p.numel() for p in classifier.features[: last + 1].parameters())
