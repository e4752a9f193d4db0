"""EfficientNet-Lite in the mobile space: published counts, cuts, and the decision between them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nas.controllers.evolution import mutated
from nas.cost import profile
from nas.errors import GenomeError
from nas.genome import Genome
from search_spaces.mobile.backbones import BACKBONES, backbone_of
from search_spaces.mobile.maps import is_extra
from search_spaces.mobile.space import MobileSpace

LITES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def whole(name: str, size: int) -> Genome:
    """The whole backbone at an input of any side, with SSDlite's extra blocks."""
    space = MobileSpace(backbone=name, input_factors=(1.0,))
    last = len(space.decisions[0].choices) - 1
    return space.decode(next(iter(space.codes((last,))))).scaled(input_size=size)


def counted(genome: Genome) -> tuple[int, int]:
    """Parameters and multiply-adds of the backbone, without extra blocks and head."""
    extras = {block.id for block in genome.blocks if is_extra(block)}
    rows = [r for r in profile(genome).table if r.kind == "block" and r.name not in extras]
    return sum(row.params for row in rows), sum(row.macs for row in rows)


@pytest.mark.parametrize(
    ("name", "size", "width", "params", "macs", "published"),
    [
        # Parameters and convolutions' multiply-adds: of the package efficientnet-lite-pytorch,
        # counted by torch. Published: tensorflow/tpu, efficientnet/lite/README.md.
        ("efficientnet-lite0", 224, 320, 4_652_008, 385_187_552, 407e6),
        ("efficientnet-lite1", 240, 320, 5_416_680, 600_185_232, 631e6),
        ("efficientnet-lite2", 260, 352, 6_092_072, 859_736_272, 899e6),
    ],
)
def test_counts_are_the_published_ones(
    name: str, size: int, width: int, params: int, macs: int, published: float
) -> None:
    """With the classifier: a 1×1 to 1280, batch norm, 1000 classes with biases."""
    own_params, own_macs = counted(whole(name, size))
    side = -(-size // 32)
    assert own_params + width * 1280 + 2 * 1280 + 1280 * 1000 + 1000 == params
    assert own_macs + width * 1280 * side**2 + 1280 * 1000 == macs
    # What is published counts norms and activations too, about three for each of their values.
    assert 0.94 < macs / published < 1


# Widths, kernels and strides of all blocks, as the package's own network has them.
LITE0 = [
    *[(16, 3, 1)],
    *[(24, 3, 2), (24, 3, 1)],
    *[(40, 5, 2), (40, 5, 1)],
    *[(80, 3, 2), (80, 3, 1), (80, 3, 1)],
    *[(112, 5, 1)] * 3,
    *[(192, 5, 2), (192, 5, 1), (192, 5, 1), (192, 5, 1)],
    *[(320, 3, 1)],
]


def test_blocks_are_the_published_ones() -> None:
    genome = whole("efficientnet-lite0", 224)
    operations: list[Any] = [block.op for block in genome.blocks if not is_extra(block)]
    stem, *blocks = operations
    assert (stem.width, stem.kernel, stem.window.stride, stem.padding) == (32, 3, 2, "same")
    assert [(op.width, op.kernel, op.stride) for op in blocks] == LITE0
    assert [op.expansion for op in blocks] == [1] + [6] * 15
    assert {op.activation for op in blocks} == {"relu6"} and stem.activation == "relu6"
    assert not any(op.squeeze_excite for op in blocks)
    # The shortcut stands where stride is 1 and widths are equal.
    widths = [32, *(op.width for op in blocks)]
    for before, op in zip(widths, blocks, strict=False):
        assert op.shortcut == (op.stride == 1 and op.width == before)
        assert op.padding == ("same" if op.stride == 2 else None)


@pytest.mark.parametrize(
    ("name", "widths", "repeats"),
    [
        ("efficientnet-lite1", (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
        ("efficientnet-lite2", (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    ],
)
def test_larger_ones_are_scaled(
    name: str, widths: tuple[int, ...], repeats: tuple[int, ...]
) -> None:
    rows = BACKBONES[name].rows  # type: ignore[index]
    assert rows[0].width == 32
    expected = [w for w, count in zip(widths, repeats, strict=True) for _ in range(count)]
    assert [row.width for row in rows[1:]] == expected


def test_input_and_batch_norm_are_those_of_the_weights() -> None:
    """The package reads (255 x - 127) / 128, TensorFlow's batch norm keeps 0.99."""
    genome = MobileSpace(backbone="efficientnet-lite0").sample(random.Random(0))
    assert genome.input.mean == (127 / 255,) * 3 and genome.input.std == (128 / 255,) * 3
    assert (genome.norm.eps, genome.norm.momentum) == (1e-3, 0.01)
    changed = MobileSpace(backbone=LITES, deploy={"momentum": 0.1}).settings.deploy
    assert (changed.momentum, changed.eps, changed.mean) == (0.1, 1e-3, 127 / 255)


@pytest.mark.parametrize(("name", "at_16", "behind"), [("0", 6, 5), ("1", 8, 6), ("2", 8, 6)])
def test_a_backbone_ends_anywhere_from_stride_16_on(name: str, at_16: int, behind: int) -> None:
    """Behind stride 32 come 24 choices of maps, behind stride 16 alone 18."""
    space = MobileSpace(backbone=f"efficientnet-lite{name}", input_factors=(1.0,))
    codes = list(space.codes())
    assert len(codes) == len(set(codes)) == space.size() == at_16 * 18 + behind * 24
    genomes = [space.decode(code) for code in codes]
    assert len({genome.key for genome in genomes}) == len(codes)
    assert all(space.encode(genome) == code for genome, code in zip(genomes, codes, strict=True))
    strides = {max(b.level for b in g.blocks if not is_extra(b)) for g in genomes}
    assert strides == {4, 5}


def test_a_cut_backbone_counts_as_the_blocks_that_are_left() -> None:
    space = MobileSpace(backbone="efficientnet-lite0", input_factors=(1.0,))
    table = {r.name: r for r in profile(whole("efficientnet-lite0", 320)).table}
    for index, last in enumerate(space.decisions[0].choices):
        genome = space.decode(next(iter(space.codes((index,)))))
        names = [str(row) for row in range(last + 1)]
        assert counted(genome)[0] == sum(table[name].params for name in names)
        assert backbone_of([b for b in genome.blocks if not is_extra(b)]) == "efficientnet-lite0"


# --- several ----------------------------------------------------------------------------------


def test_a_decision_between_them() -> None:
    space = MobileSpace(backbone=LITES, input_factors=(1.0,))
    alone = [MobileSpace(backbone=name, input_factors=(1.0,)) for name in LITES]
    assert [decision.name for decision in space.decisions[:2]] == ["backbone", "last"]
    assert space.size() == sum(one.size() for one in alone)
    for index, one in enumerate(alone):
        first = one.decisions[0].choices
        mask = space.legal((index,))
        legal = [choice for choice, ok in zip(space.decisions[1].choices, mask, strict=True) if ok]
        assert tuple(legal) == first
    rng = random.Random(0)
    for one in alone:
        for _ in range(10):
            genome = one.sample(rng)
            assert space.contains(genome) and space.decode(space.encode(genome)).key == genome.key
            assert not any(other.contains(genome) for other in alone if other is not one)
    assert not space.contains(MobileSpace(backbone="mobilenetv2-1.0").sample(rng))
    assert not space.contains(MobileSpace().sample(rng))


def test_every_choice_is_drawn_and_mutated_to() -> None:
    space, rng = MobileSpace(backbone=LITES), random.Random(1)
    code = space.sample_code(rng)
    names = set()
    for _ in range(200):
        code = mutated(space, code, rng)
        names.add(LITES[code[0]])
        assert space.encode(space.decode(code)) == code
    assert names == set(LITES)


def test_a_family_of_others_is_a_decision_too() -> None:
    names = ("mobilenetv3-large", "mobilenetv3-small")
    space, rng = MobileSpace(backbone=names), random.Random(2)
    for name in names:
        genome = MobileSpace(backbone=name).sample(rng)
        assert space.contains(genome)


@pytest.mark.parametrize(
    "backbone",
    [
        ["efficientnet-lite0"],
        [],
        ["efficientnet-lite0", "efficientnet-lite0"],
        ["efficientnet-lite0", "mobilenetv2-1.0"],
        ["efficientnet-lite0", "searched"],
        ["searched", "searched"],
        [["efficientnet-lite0"], {}],
    ],
)
def test_other_lists_are_refused(backbone: Any) -> None:
    with pytest.raises(ValueError, match="two or more different published backbones"):
        MobileSpace(backbone=backbone)


def test_a_chain_that_is_none_of_them_is_refused_by_name() -> None:
    space = MobileSpace(backbone=LITES)
    with pytest.raises(GenomeError, match="none of efficientnet-lite0, efficientnet-lite1, eff"):
        space.encode(MobileSpace(backbone="mobilenetv3-large").sample(random.Random(3)))
