"""From a genome to a model: sizes, equal keys, stochastic depth, refusals."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nas.errors import GenomeError
from nas.genome import Genome, plan
from nas.models import Detector, build
from search_spaces import zoo
from tests.genome.counting import published
from tests.genome.relisting import relisted
from tests.models.tiny import built, pictures, sampled, tiny

# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (128, [16, 8, 4, 2, 1]),
        (192, [24, 12, 6, 3, 2]),
        (224, [28, 14, 7, 4, 2]),  # as the authors' code has them
        (256, [32, 16, 8, 4, 2]),
        (320, [40, 20, 10, 5, 3]),
        (137, [18, 9, 5, 3, 2]),
    ],
)
def test_any_size_from_128_px_on_works(size: int, sides: list[int]) -> None:
    model = built(tiny(size=size)).train()
    maps = model.features(torch.randn(2, 3, size, size))
    assert [m.shape for m in maps] == [(2, 16, side, side) for side in sides]
    assert len(model.head.anchors) == 9 * sum(side**2 for side in sides)
    boxes, labels = torch.tensor([[[20.0, 20, 70, 80]]] * 2), torch.tensor([[1]] * 2)
    losses = model.losses(pictures(2, size), boxes, labels)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_anchors_count_as_published() -> None:
    """9·Σ(S/2^l)²; with torchvision's order of x and y."""
    with torch.device("meta"):
        counts = {
            size: len(build(tiny(size=size), 2).head.anchors)
            for size in (256, 384, 512, 640, 896, 1024, 1280)
        }
    assert counts == {
        **{256: 12_276, 384: 27_621, 512: 49_104, 640: 76_725},
        **{896: 150_381, 1024: 196_416, 1280: 306_900},
    }


def test_below_128_px_build_refuses_and_says_why() -> None:
    with pytest.raises(GenomeError, match=r"128 px.* level 7"):
        build(tiny(size=96), 4)


def test_one_class_is_background_alone() -> None:
    with pytest.raises(GenomeError, match="num_classes=1"):
        build(tiny(), 1)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("bidet-ssd300", "binary"),
        ("ssd300-vgg16", "l2_norm|tap"),
        ("mimicdet-spinenet-49", "mimicdet"),
    ],
)
def test_parts_without_a_model_are_refused(name: str, named: str) -> None:
    with pytest.raises(GenomeError, match=named) as caught, torch.device("meta"):
        build(published(name), 4)
    assert len(str(caught.value).splitlines()) == 1


# --- equal keys -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_equal_keys_give_equal_models(seed: int) -> None:
    genome = sampled(seed)
    other = relisted(genome, random.Random(seed))
    assert other.key == genome.key
    first, second = built(genome, drop_path=0.2), built(other, drop_path=0.2)
    parameters = dict(second.named_parameters())
    assert [name for name, _ in first.named_parameters()] == list(parameters)
    for name, value in first.named_parameters():
        assert torch.equal(value, parameters[name]), name
    batch = pictures(2, 128)
    for training in (True, False):
        raws = []
        for model in (first.train(training), second.train(training)):
            torch.manual_seed(7)  # stochastic depth draws as well
            raws.append(model.raw(batch))
        assert torch.equal(raws[0].logits, raws[1].logits)
        assert torch.equal(raws[0].deltas, raws[1].deltas)


def test_one_model_s_weights_fit_a_relisted_one() -> None:
    genome = tiny()
    first = built(genome, seed=1)
    second = built(relisted(genome, random.Random(9)), seed=2)
    second.load_state_dict(first.state_dict())
    batch = pictures(1, 128)
    assert torch.equal(first.eval().raw(batch).logits, second.eval().raw(batch).logits)


def test_a_block_read_twice_is_built_once() -> None:
    genome = tiny()
    blocks = []
    for block in genome.blocks:
        if block.id == "16":
            block = block.replace(inputs=(block.inputs[0], block.inputs[0]))
        blocks.append(block)
    model = built(genome.replace(blocks=tuple(blocks))).eval()
    assert model.features(torch.randn(1, 3, 128, 128))[3].shape == (1, 16, 2, 2)


def test_a_stem_s_rectifier_may_stand_on_either_side_of_its_pool() -> None:
    """By hand: 7×7, norm, rectifier, pool with one pixel of padding at the bottom and right."""
    model = built(tiny()).eval()
    named = dict(zip(("stem", "pool"), model.steps[:2], strict=True))
    x = torch.randn(2, 3, 128, 128)
    found = x
    for name, _ in named.values():
        found = model.body[name](found)
    layers = list(model.body[named["stem"][0]].modules())
    conv = next(layer for layer in layers if isinstance(layer, nn.Conv2d))
    norm = next(layer for layer in layers if isinstance(layer, nn.BatchNorm2d))
    y = nn.functional.pad(torch.relu(norm(conv(x))), (0, 1, 0, 1), value=-math.inf)
    torch.testing.assert_close(found, nn.functional.max_pool2d(y, 3, 2))


def test_a_pool_of_a_sum_rectifies_each_term() -> None:
    def conv(name: str) -> dict[str, Any]:
        op = {"type": "conv", "width": 8, "stride": 2}
        return {"id": name, "level": 1, "op": op, "inputs": [{"block": "image"}]}

    both = [{"block": "a"}, {"block": "b"}]
    genome = Genome.model_validate(
        {
            "input": {"size": 32},
            "blocks": [
                conv("a"),
                conv("b"),
                {"id": "pool", "level": 2, "op": {"type": "max_pool"}, "inputs": both},
            ],
            "taps": [{"block": "pool"}],
            "head": {"type": "retinanet", "width": 8, "depth": 1, "anchors": [{"type": "octave"}]},
        }
    )
    model = built(genome).eval()
    x = torch.randn(2, 3, 32, 32)
    layers = list(model.body.modules())
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    summed = sum(torch.relu(n(c(x))) for c, n in zip(convs, norms, strict=True))
    padded = nn.functional.pad(torch.as_tensor(summed), (0, 1, 0, 1), value=-math.inf)
    (found,) = model.features(x)
    torch.testing.assert_close(found, nn.functional.max_pool2d(padded, 3, 2))


# --- stochastic depth -------------------------------------------------------------------------


def rates(model: Detector) -> dict[str, set[float]]:
    """Rates of stochastic depth by block."""
    found: dict[str, set[float]] = {}
    for unit in plan(model.genome):
        if unit.kind == "block" and unit.block:
            layers = model.body[unit.name].modules()
            found[unit.block.id] = {
                layer.p for layer in layers if isinstance(layer, StochasticDepth)
            }
    return found


@pytest.mark.parametrize("name", ["spinenet-49", "spinenet-96"])
def test_rates_rise_with_the_rank(name: str) -> None:
    """Block i of n = 15 has p·(i + 1)/n, every repeat alike; the stem has none."""
    found = rates(built(tiny(zoo.genome(name)), drop_path=0.2))
    assert not any(found.pop(stem) for stem in ("stem", "pool", "0", "1"))
    for block, rate in found.items():
        (only,) = rate
        assert only == pytest.approx(0.2 * (int(block) - 1) / 15)


def test_without_drop_path_nothing_is_dropped() -> None:
    assert not any(rates(built(tiny())).values())


def test_residual_branches_are_dropped_by_picture() -> None:
    model = built(tiny(), drop_path=0.9)
    block = next(
        model.body[unit.name]
        for unit in plan(model.genome)
        if unit.kind == "block" and unit.block and unit.block.id == "16"
    ).train()
    x = torch.rand(64, 64, 2, 2)
    kept = (block(x) == x).flatten(1).all(dim=1)  # a dropped branch leaves the shortcut
    assert 40 < int(kept.sum()) < 64
    assert not (block.eval()(x) == x).flatten(1).all(dim=1).any()


# --- first weights ----------------------------------------------------------------------------


def test_first_scores_are_one_in_a_hundred() -> None:
    model = built(tiny()).eval()
    scores = model.raw(pictures(1, 128)).logits.sigmoid()
    torch.testing.assert_close(scores, torch.full_like(scores, 0.01), atol=1e-3, rtol=0)


def test_the_head_s_first_weights_are_the_published_ones() -> None:
    genome: Genome = tiny().scaled(head_width=128)
    head = built(genome).head
    for tower in (head.class_tower, head.box_tower):
        for conv in tower.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert not conv.bias.any()
        assert tower.predict.weight.std().item() == pytest.approx(1e-5, rel=0.05)
    assert head.box_tower.predict.bias is not None and head.class_tower.predict.bias is not None
    assert not head.box_tower.predict.bias.any()
    bias: Tensor = head.class_tower.predict.bias
    torch.testing.assert_close(bias, torch.full_like(bias, -math.log(99)))


def test_batch_norm_has_the_genome_s_constants() -> None:
    genome = tiny()
    model = built(genome.replace(norm=genome.norm.replace(eps=0.02, momentum=0.3)))
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.02, 0.3)}


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("swish", nn.SiLU)])
def test_one_activation_is_used_everywhere(activation: str, kind: type[nn.Module]) -> None:
    genome = tiny().with_activation(activation)  # type: ignore[arg-type]
    found = {type(layer) for layer in built(genome).modules()}
    assert found & {nn.ReLU, nn.SiLU} == {kind}
