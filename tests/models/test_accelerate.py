"""`accelerate`: the plain detector's names, weights, outputs and gradients, with faster classes."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
import torch
from torch import Tensor, nn

from nas.genome import Genome
from nas.genome.network import BatchNorm
from nas.models import Detector
from nas.models.blocks import FusedBlock
from nas.models.fast_cpu import accelerate
from nas.models.fast_cpu.convolutions import DepthwiseConv2d, PointwiseConv2d
from nas.models.fast_cpu.fused_expansion import FusedInvertedResidualBlock
from nas.models.fast_cpu.sparse_predictions import SparseSSD
from nas.models.layers import ConvNorm
from search_spaces import zoo
from search_spaces.mobile.space import MobileSpace
from tests.models.tiny import built, pictures

SIZE = 64
NETWORKS = {
    name: zoo.genome(name).scaled(width=0.25, input_size=SIZE)
    for name in ("ssdlite320-mobilenetv3-large", "yoloret-mobilenetv2-0.75")
}
NETWORKS["spinenet-49"] = zoo.genome("spinenet-49").scaled(width=0.125, input_size=128)
NETWORKS["efficientnet-lite0"] = (
    MobileSpace(backbone="efficientnet-lite0", input_factors=(1.0,))
    .sample(random.Random(0))
    .scaled(width=0.25, input_size=SIZE)
)
FORMATS = [torch.channels_last, torch.contiguous_format]


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """With several threads 1×1 convolutions are torch's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def detector(genome: Genome, memory_format: torch.memory_format = torch.channels_last) -> Detector:
    torch.manual_seed(0)
    return built(genome).double().to(memory_format=memory_format)


def learnt(model: Detector) -> tuple[list[Tensor], list[Tensor]]:
    """Losses, and all gradients, of one batch in training."""
    size = model.genome.input.size
    images = pictures(4, size).contiguous(memory_format=torch.channels_last)
    corners = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.3, 0.4, 0.9, 0.8]], dtype=torch.float64)
    boxes, labels = (corners * size).repeat(4, 1, 1), torch.tensor([[1, 2]]).repeat(4, 1)
    losses = list(model.train().losses(images, boxes, labels).values())
    weights = [p for p in model.parameters() if p.requires_grad]
    return losses, list(torch.autograd.grad(torch.stack(losses).sum(), weights))


def classes(model: nn.Module) -> list[type[nn.Module]]:
    return [type(module) for module in model.modules()]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("genome", NETWORKS.values(), ids=NETWORKS)
def test_nothing_but_classes_changes(genome: Genome, memory_format: torch.memory_format) -> None:
    plain, fast = (detector(genome, memory_format).eval() for _ in "ab")
    weights = list(fast.parameters())
    assert accelerate(fast) is fast
    assert classes(fast) != classes(plain)
    assert all(a is b for a, b in zip(fast.parameters(), weights, strict=True))
    names = list(plain.state_dict())
    assert list(fast.state_dict()) == names
    assert [name for name, _ in fast.named_parameters()] == [n for n, _ in plain.named_parameters()]
    images = pictures(2, genome.input.size).contiguous(memory_format=memory_format)
    with torch.no_grad():
        for mine, expected in zip(fast.raw(images), plain.raw(images), strict=True):
            assert torch.equal(mine, expected)
    before = classes(accelerate(fast))
    assert classes(accelerate(fast)) == before


@pytest.mark.parametrize("genome", NETWORKS.values(), ids=NETWORKS)
def test_it_learns_what_the_plain_detector_learns(genome: Genome) -> None:
    plain, fast = detector(genome), accelerate(detector(genome))
    for mine, expected in zip(learnt(fast), learnt(plain), strict=True):
        for a, b in zip(mine, expected, strict=True):
            assert (a - b).abs().max() <= 1e-6 * b.abs().max().clamp(min=1e-6)
    for (name, a), b in zip(fast.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_copies_and_pickles_are_accelerated() -> None:
    fast = accelerate(detector(NETWORKS["ssdlite320-mobilenetv3-large"]))
    copies = [copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))]
    expected = learnt(fast)
    for other in copies:
        assert classes(other) == classes(fast)
        for mine, theirs in zip(learnt(other), expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_what_is_made_faster() -> None:
    fast = accelerate(detector(NETWORKS["ssdlite320-mobilenetv3-large"]))
    kinds = classes(fast)
    assert type(fast.head) is SparseSSD
    assert {PointwiseConv2d, DepthwiseConv2d, FusedInvertedResidualBlock} <= set(kinds)
    assert kinds.count(PointwiseConv2d) > 30 and kinds.count(DepthwiseConv2d) > 20


def test_a_stem_s_rectifier_moves_behind_the_pool() -> None:
    genome = zoo.genome("spinenet-49").scaled(width=0.125, input_size=128)
    genome = genome.with_activation("relu")
    plain, fast = detector(genome), accelerate(detector(genome))

    def rectifiers(model: Detector) -> list[list[str]]:
        stems = [m for m in model.body.values() if isinstance(m, FusedBlock)][:2]
        return [[type(m).__name__ for m in stem.modules()] for stem in stems]

    (stem, pool), (fast_stem, fast_pool) = rectifiers(plain), rectifiers(fast)
    assert stem[-1] == "ReLU" and "ReLU" not in pool
    assert "ReLU" not in fast_stem and fast_pool[-1] == "ReLU"


class ForeignConv2d(nn.Conv2d):
    """A convolution of another package, with a forward of its own."""


def test_another_package_s_block_is_accelerated_where_it_can_be() -> None:
    """Layers of ours and of torch are; a class of its own stays what it is."""
    norm = BatchNorm(eps=1e-3, momentum=0.03)
    block = nn.Sequential(
        ConvNorm(4, 8, 1, norm, "relu"),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        ForeignConv2d(8, 8, 5, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=1, groups=8, bias=False),  # not symmetric: 2 would be
        nn.Conv2d(8, 8, (5, 3), padding=(2, 1), groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding="same", groups=8, bias=False),
    )
    first = accelerate(block)[0]
    assert isinstance(first, ConvNorm) and type(first[0]) is PointwiseConv2d
    kinds = [DepthwiseConv2d, ForeignConv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d]
    assert [type(module) for module in block[1:]] == kinds
