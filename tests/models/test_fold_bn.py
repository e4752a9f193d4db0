"""Batch norms folded away: the same outputs, fewer layers, the detector itself left as it is."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from nas.genome import Genome
from nas.models.fast_cpu import accelerate
from nas.models.fold_bn import fold_norms
from search_spaces import zoo
from search_spaces.mobile.space import MobileSpace
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

NETWORKS["efficientnet-lite0"] = (
    MobileSpace(backbone="efficientnet-lite0", input_factors=(1.0,))
    .sample(random.Random(0))
    .scaled(input_size=64)
)


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


@pytest.mark.parametrize("name", ["ssdlite320-mobilenetv3-large", "efficientnet-lite0"])
@pytest.mark.parametrize("accelerated", [False, True])
def test_no_norm_is_left_behind_a_convolution(name: str, accelerated: bool) -> None:
    model = built(NETWORKS[name]).train()
    if accelerated:
        accelerate(model)
    still = model.deployed()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in still.modules())
    assert model.training and not still.training


class SignConv2d(nn.Conv2d):
    """A binary convolution: only the signs of its weights count, so scaling them does nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight.sign(), self.bias)


@pytest.mark.parametrize("accelerated", [False, True])
def test_a_convolution_of_another_class_keeps_its_norm(accelerated: bool) -> None:
    """Folded silently, it would lose the norm's scale."""
    torch.manual_seed(0)
    channels = 4
    layers = [
        SignConv2d(channels, channels, 1),
        SignConv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1),
    ]
    model = nn.Sequential(*(nn.Sequential(conv, nn.BatchNorm2d(channels)) for conv in layers))
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        assert norm.running_mean is not None
        norm.running_mean.normal_()
    model.double().eval()
    if accelerated:
        accelerate(model)
    x = torch.randn(2, channels, 5, 5).double()
    with torch.no_grad():
        expected = model(x)
        fold_norms(model)
        torch.testing.assert_close(model(x), expected)
    left = [isinstance(list(pair.children())[1], nn.BatchNorm2d) for pair in model]
    assert left == [True, True, False, False]
