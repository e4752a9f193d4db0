"""Detectors for inference alone: the same outputs, fewer layers, the given one left as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.genome import Genome
from search_spaces import zoo
from tests.models.ssdlite import livened
from tests.models.tiny import built, pictures, sampled

SIZE = 128
NETWORKS = {
    name: zoo.genome(name).scaled(width=0.25, input_size=SIZE)
    for name in (
        "ssdlite320-mobilenetv3-large",
        "mobiledet-gpu",
        "yoloret-mobilenetv2-0.75",
        "spinenet-mobile-49xs",
    )
}


@pytest.mark.parametrize("genome", [*NETWORKS.values(), sampled(0)], ids=[*NETWORKS, "spinenet"])
def test_the_same_outputs(genome: Genome) -> None:
    """In float64, for under random weights squeeze-excite enlarges what is rounded in float32."""
    model = built(genome).double().eval()
    livened(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = pictures(2, genome.input.size)
    with torch.no_grad():
        expected, found = model.raw(images), model.deployed().raw(images)
    for mine, wanted in zip(found, expected, strict=True):
        assert (mine - wanted).abs().max() <= 1e-9 * wanted.abs().max()
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_no_norm_is_left_behind_a_convolution() -> None:
    model = built(NETWORKS["ssdlite320-mobilenetv3-large"]).train()
    still = model.deployed()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in still.modules())
    assert model.training and not still.training
