"""The mobile space: counts by hand, round trips, what its variants and backbones hold."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from nas.controllers import ControllerSettings, make_controller
from nas.controllers.evolution import mutated
from nas.errors import ConfigError, GenomeError
from nas.genome import Genome
from nas.genome.key import canonical_order
from nas.genome.parts import RFCR, DefaultBoxes
from nas.genome.plan import lower
from nas.space import Code
from nas.testing.controllers import fed
from search_spaces import zoo
from search_spaces.mobile.backbones import NAMES
from search_spaces.mobile.layers import FUSED, IBN, TUCKER, UNEXPANDED
from search_spaces.mobile.space import MobileSpace
from tests.engine.toys import CONTROLLERS

VARIANTS = ("ibn", "ibn+fused", "ibn+fused+tucker")
SPACES: dict[str, dict[str, Any]] = {variant: {"variant": variant} for variant in VARIANTS} | {
    name: {"backbone": name} for name in NAMES
}


def choices(space: MobileSpace, code: Code) -> dict[str, Any]:
    """What a code takes at each decision."""
    return {d.name: d.choices[i] for d, i in zip(space.decisions, code, strict=True)}


def code_of(space: MobileSpace, **taken: Any) -> Code:
    """The first legal code with some choices; the names' dots are written `_`."""
    code: list[int] = []
    for decision in space.decisions:
        mask, name = space.legal(code), decision.name.replace(".", "_")
        wanted = decision.choices.index(taken[name]) if name in taken else mask.index(True)
        assert mask[wanted], (decision.name, taken.get(name))
        code.append(wanted)
    return tuple(code)


# --- size and masks ---------------------------------------------------------------------------


def test_size_of_inverted_bottlenecks_alone() -> None:
    """Base widths × multipliers give 6, 4, 6, 7, 7, 7, 7, 7 different channels from the stem on.

    A stage of 1 to 4 layers of 4 kinds has 4 + 16 + 64 + 256 = 340 forms, squeeze-excite twice
    as many. Stage 7 (4 kinds) may be left out, and stage 6 with it. Behind stride 32 come 2 finest
    maps × (3 RFCR or 3 × 3 extra blocks), behind stride 16 alone 2 × 9; then 4 inputs.
    """
    to_16 = 3 * 6 * (4 * 2 * 2) * (6 * 680) * (7 * 680) ** 3
    to_32 = 7 * 680 * (1 + 7 * 4 * 2)
    assert MobileSpace(variant="ibn").size() == to_16 * (18 + to_32 * 24) * 4


def test_size_of_the_largest_variant() -> None:
    """12 kinds of layers; a stage of the 4 Tucker ones alone has no squeeze-excite.

    Where stage 1 has 8 channels, both ratios of a Tucker block come to 8 at its output, and at the
    input of stage 2's first layer: two kinds fewer for either.
    """
    stage = 2 * (12 + 12**2 + 12**3 + 12**4) - (4 + 4**2 + 4**3 + 4**4)
    behind_8 = 2 * 10 * (1 + 12 + 12**2 + 12**3) - 2 * (1 + 4 + 4**2 + 4**3)
    first_two = (2 * 4 - 2) * behind_8 + 3 * (2 * 6 - 4) * stage
    to_16 = 3 * 6 * (6 * first_two) * (7 * stage) ** 3
    to_32 = 7 * stage * (1 + 7 * (2 * 12 - 4))
    assert MobileSpace().size() == to_16 * (18 + to_32 * 24) * 4
    assert f"{MobileSpace().size():.1e}" == "1.9e+34"


@pytest.mark.parametrize(("name", "lasts"), [*zip(NAMES[:3], (6, 5, 5), strict=True)])
def test_every_code_of_a_fixed_backbone(name: str, lasts: int) -> None:
    """The last row of stride 16, or any of those behind it."""
    space = MobileSpace(backbone=name, input_factors=(1.0,))
    codes = list(space.codes())
    assert len(codes) == len(set(codes)) == space.size() == 18 + (lasts - 1) * 24
    assert len({space.decode(code).key for code in codes}) == len(codes)
    assert all(space.encode(space.decode(code)) == code for code in codes)


def test_masks_count_what_size_counts() -> None:
    """A walk over two stages, the second of depth 2: 2·2·4 and 6·(2·10·12 - 2·4) forms."""
    space = MobileSpace()
    names = [decision.name for decision in space.decisions]
    held = code_of(space, width1=0.5)[: names.index("width1") + 1]
    prefixes = {held}
    for name in names[len(held) : names.index("width2")]:
        prefixes = {
            (*prefix, i)
            for prefix in prefixes
            for i, ok in enumerate(space.legal(prefix))
            if ok and (name != "depth2" or i == 2)
        }
    assert len(prefixes) == 2 * 2 + 2
    for name in names[names.index("width2") : names.index("squeeze_excite2") + 1]:
        prefixes = {
            (*prefix, i)
            for prefix in prefixes
            for i, ok in enumerate(space.legal(prefix))
            if ok and (name != "width2" or i == 1)
        }
    assert len(prefixes) == 6 * (2 * 10 * 12 - 2 * 4)


def test_layers_beyond_a_stage_s_depth_are_none() -> None:
    space, rng = MobileSpace(), random.Random(1)
    depths = set()
    for _ in range(200):
        taken = choices(space, space.sample_code(rng))
        for stage in range(2, 8):
            depth = taken[f"depth{stage}"]
            depths.add((stage, depth))
            layers = [taken[f"layer{stage}.{i}"] for i in range(1, 2 if stage == 7 else 5)]
            assert [layer is not None for layer in layers] == [
                i < depth for i in range(len(layers))
            ]
            assert (taken[f"width{stage}"] is None) == (depth == 0)
    deep = {(stage, depth) for stage in range(2, 7) for depth in range(1, 5)}
    assert depths == deep | {(6, 0), (7, 0), (7, 1)}


def test_stage_7_needs_stage_6() -> None:
    space, rng = MobileSpace(), random.Random(2)
    drawn = [choices(space, space.sample_code(rng)) for _ in range(300)]
    ends = {(taken["depth6"] > 0, taken["depth7"]) for taken in drawn}
    assert ends == {(False, 0), (True, 0), (True, 1)}


def test_tucker_blocks_have_no_squeeze_excite() -> None:
    space = MobileSpace()
    at = [decision.name for decision in space.decisions].index("squeeze_excite2")
    for layer, excites in ((TUCKER[0], False), (IBN[0], True), (FUSED[0], True)):
        code = code_of(space, depth2=2, layer2_1=TUCKER[1], layer2_2=layer, width1=0.75)
        assert space.legal(code[:at]) == (True, excites)


def test_rfcr_comes_without_extra_blocks_and_needs_stride_32() -> None:
    for space in (MobileSpace(), MobileSpace(backbone="mobilenetv2-1.0")):
        rng = random.Random(3)
        for _ in range(200):
            code = space.sample_code(rng)
            taken, genome = choices(space, code), space.decode(code)
            assert (taken["extras"] == 0) == (taken["rfcr"] is not None)
            assert (taken["extra_width"] is None) == (taken["extras"] == 0)
            assert genome.neck.type == ("none" if taken["rfcr"] is None else "rfcr")
            last = taken.get("depth6", taken.get("last") != 13)
            assert last or taken["rfcr"] is None


# --- maps -------------------------------------------------------------------------------------


def maps_of(space: MobileSpace, **taken: Any) -> list[tuple[str, str, float, int]]:
    """Per map of the head: its block, the point, the scale of its boxes, its side."""
    genome = space.decode(code_of(space, **taken))
    neck = genome.neck
    read = neck.outputs if isinstance(neck, RFCR) else range(len(genome.taps))
    taps = [genome.taps[i] for i in read]
    scales = [boxes.scale for boxes in genome.head.anchors if isinstance(boxes, DefaultBoxes)]
    sides = [shape.size for shape in lower(genome)[-1].ins]
    return [
        (tap.block, tap.point, round(scale, 6), side)
        for tap, scale, side in zip(taps, scales, sides, strict=True)
    ]


EVEN = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""torchvision's scales of six maps, anchor_utils.py."""


def test_maps_of_a_searched_backbone() -> None:
    """Stem, one layer a stage: stage 3 ends stride 8, stage 5 stride 16, stage 7 stride 32."""
    space = MobileSpace()
    layers = {f"depth{stage}": 1 for stage in range(2, 8)}
    six = maps_of(space, input=320, extras=4, **layers)
    blocks = ("5", "7", "extra0", "extra1", "extra2", "extra3")
    assert six == [
        (block, "out", scale, side)
        for block, scale, side in zip(blocks, EVEN, (20, 10, 5, 3, 2, 1), strict=True)
    ]
    assert maps_of(space, input=320, extras=4, finest=8, **layers) == [("3", "out", 0.1, 40), *six]
    rfcr = {"rfcr": 48, "finest": 8, "input": 320}
    three = [("3", "out", 0.1, 40), ("5", "out", 0.2, 20), ("7", "out", 0.95, 10)]
    assert maps_of(space, **rfcr, **layers) == three
    assert maps_of(space, **rfcr | {"finest": 16}, **layers) == three[1:]
    ended = layers | {"depth6": 0, "depth7": 0}
    found = maps_of(space, input=320, extras=2, **ended)
    assert found == [
        ("5", "out", 0.2, 20),
        ("extra0", "out", 0.575, 10),
        ("extra1", "out", 0.95, 5),
    ]


def test_maps_of_a_fixed_backbone() -> None:
    """SSDlite reads expansions: torchvision's of MobileNetV3-Large's block 13 and the last 1×1."""
    space = MobileSpace(backbone="mobilenetv3-large")
    found = maps_of(space, last=16, extras=2, finest=8, input=320)
    assert [step[:2] for step in found[:3]] == [("7", "expand"), ("13", "expand"), ("16", "out")]
    cut = maps_of(space, last=12, extras=2, input=320)
    assert [step[:2] for step in cut] == [("12", "out"), ("extra0", "out"), ("extra1", "out")]


def test_rfcr_reads_what_yolo_ret_reads() -> None:
    """prakharg24/yoloret on MobileNetV2, its last two rows left out; maps fine first here."""
    space = MobileSpace(backbone="mobilenetv2-1.0")
    genome = space.decode(code_of(space, last=16, rfcr=48, finest=8))
    theirs = zoo.genome("yoloret-mobilenetv2-0.75")
    coarse, middle, fine, stride_4 = theirs.taps
    assert genome.taps == (fine, middle, coarse, stride_4)
    assert isinstance(theirs.neck, RFCR)
    assert genome.neck == theirs.neck.replace(outputs=(0, 1, 2))
    assert (theirs.neck.collect, theirs.neck.fuse, theirs.neck.target) == (48, 96, 1)


def test_boxes_of_a_finer_map_by_tensorflow_s_rule() -> None:
    """A square of half the scale, and one pair of ratio 2."""
    space = MobileSpace(boxes={"three_on_first": True})
    genome = space.decode(code_of(space, finest=8))
    assert [anchors.count for anchors in genome.head.anchors] == [3, 6, 6, 6]
    first = genome.head.anchors[0]
    assert isinstance(first, DefaultBoxes)
    assert (first.scale, first.square_scales, first.ratios) == (0.1, (0.05,), (2.0,))


# --- round trips ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_every_legal_path_is_one_genome(name: str) -> None:
    """2,000 sampled ones over all spaces: legal, read back exactly, and of keys of their own."""
    space, rng = MobileSpace(**SPACES[name]), random.Random(name)
    genomes: dict[str, Code] = {}
    for number in range(600 if "variant" in SPACES[name] else 70):
        code = space.sample_code(rng)
        genome = space.decode(code)
        genome.validate()
        assert space.encode(genome) == code
        assert space.decode(code) == genome
        assert genomes.setdefault(genome.key, code) == code
        if number % 10 == 0:
            assert space.encode(Genome.from_json(genome.to_json())) == code


def test_no_decision_is_dead() -> None:
    """Another choice, wherever there is one, is another network."""
    space, rng = MobileSpace(), random.Random(4)
    changed = set()
    for _ in range(300):
        code = space.sample_code(rng)
        other = mutated(space, code, rng)
        first = next(i for i, (a, b) in enumerate(zip(code, other, strict=True)) if a != b)
        changed.add(space.decisions[first].name)
        assert space.decode(other).key != space.decode(code).key
    assert len(changed) > 40


def test_a_genome_listed_otherwise_is_read_alike() -> None:
    """Ids don't matter, the chain does."""
    space = MobileSpace()
    genome = space.sample(random.Random(5))
    new = {block.id: f"n{len(genome.blocks) - i}" for i, block in enumerate(genome.blocks)}
    new["image"] = "image"
    blocks = [
        b.replace(id=new[b.id], inputs=tuple(e.replace(block=new[e.block]) for e in b.inputs))
        for b in genome.blocks
    ]
    taps = tuple(tap.replace(block=new[tap.block]) for tap in genome.taps)
    other = genome.replace(blocks=tuple(blocks), taps=taps)
    assert other != genome and canonical_order(other) != canonical_order(genome)
    assert space.decode(space.encode(other)) == genome


def test_illegal_codes_are_refused() -> None:
    space = MobileSpace()
    code = code_of(space, depth3=2, depth6=0)
    names = [decision.name for decision in space.decisions]

    def changed(name: str, index: int) -> Code:
        at = names.index(name)
        return (*code[:at], index, *code[at + 1 :])

    broken = {
        "has 49 entries, this has 48": code[:-1],
        "'layer3.3' has choice 1, legal here are \\[0\\]": changed("layer3.3", 1),
        "'layer3.1' has choice 0": changed("layer3.1", 0),
        "'depth2' has choice 0": changed("depth2", 0),
        "'depth7' has choice 1, legal here are \\[0\\]": changed("depth7", 1),
        "'width1' has choice 2": changed("width1", 2),  # 8 channels, as the first one
        "'rfcr' has choice 1, legal here are \\[0\\]": changed("rfcr", 1),
        "'input' has choice 4": changed("input", 4),
        "'activation' has choice -1": changed("activation", -1),
    }
    for named, wrong in broken.items():
        with pytest.raises(GenomeError, match=named):
            space.decode(wrong)


# --- what it contains -------------------------------------------------------------------------


def test_variants_are_nested() -> None:
    spaces = [MobileSpace(variant=variant) for variant in VARIANTS]
    rng = random.Random(6)
    for smaller, larger in itertools.combinations(spaces, 2):
        assert smaller.size() < larger.size()
        assert all(larger.contains(smaller.sample(rng)) for _ in range(40))
        inside = sum(smaller.contains(larger.sample(rng)) for _ in range(40))
        assert inside < 4  # of 14 layers, each would have to be one of the smaller space's
    assert [len(space.backbone.layers) for space in spaces] == [4, 8, 12]  # type: ignore[union-attr]


def test_layers_are_the_paper_s() -> None:
    """Kernels 3 and 5, expansions 4 and 8, ratios 0.25 and 0.75: arXiv 2004.14525, section 4."""
    pairs = [(3, 4), (3, 8), (5, 4), (5, 8)]
    assert [(layer.kernel, layer.expansion) for layer in IBN] == pairs
    assert [(layer.kernel, layer.expansion) for layer in FUSED] == pairs
    assert {layer.ratios for layer in TUCKER} == set(itertools.product((0.25, 0.75), repeat=2))
    assert [(layer.kernel, layer.expansion) for layer in UNEXPANDED] == [(3, 1), (5, 1)]


TENSORFLOW: dict[str, Any] = {
    "boxes": {"three_on_first": True, "clip": False},
    "deploy": {"eps": 0.01, "momentum": 0.01},
}


def published(device: str) -> Genome:
    """A MobileDet with this space's post-processing, in which TensorFlow's has other numbers."""
    genome = zoo.genome(f"mobiledet-{device}")
    usual = MobileSpace().sample(random.Random(0)).head
    return genome.replace(head=genome.head.replace(postprocess=usual.postprocess))


@pytest.mark.parametrize("device", ["cpu", "edgetpu", "dsp"])
def test_mobiledets_are_in_the_space(device: str) -> None:
    space, genome = MobileSpace(**TENSORFLOW), published(device)
    assert space.contains(genome)
    taken = choices(space, space.encode(genome))
    expected = {
        "cpu": ("hard_swish", 0.5, UNEXPANDED[0], 0.5, (1, 4, 4, 4, 4, 1), True),
        "edgetpu": ("relu6", 1.0, TUCKER[1], 0.75, (4, 4, 4, 4, 4, 1), False),
        "dsp": ("relu6", 1.0, UNEXPANDED[0], 1.25, (4, 4, 4, 4, 4, 1), False),
    }[device]
    depths = tuple(taken[f"depth{stage}"] for stage in range(2, 8))
    first = (taken["activation"], taken["stem"], taken["layer1.1"])
    assert (*first, taken["width1"], depths, taken["squeeze_excite4"]) == expected
    assert (taken["finest"], taken["rfcr"], taken["extras"]) == (16, None, 4)
    assert (taken["extra_width"], taken["input"]) == (1.0, 320)


def test_mobiledet_cpu_is_in_the_smallest_variant() -> None:
    holds = [
        [MobileSpace(variant=variant, **TENSORFLOW).contains(published(device))]
        for device in ("cpu", "edgetpu")
        for variant in VARIANTS
    ]
    assert holds == [[True], [True], [True], [False], [False], [True]]


def test_what_the_space_does_not_hold() -> None:
    """MobileDet-GPU's channels are multiples of 32; MobileNets' expansions aren't 4 and 8."""
    space = MobileSpace(**TENSORFLOW)
    with pytest.raises(GenomeError, match=r"128 wide; the space has \(48, 64, 72, 96, 120, 144"):
        space.encode(published("gpu"))
    with pytest.raises(GenomeError, match=r"block '3' is inverted_residual k3 e3; legal: .* k3 e4"):
        space.encode(zoo.genome("ssdlite320-mobilenetv3-large"))
    assert not space.contains(zoo.genome("spinenet-49"))
    genome = space.sample(random.Random(7))
    for other in (
        genome.scaled(width=0.5),
        genome.scaled(input_size=224),
        genome.replace(norm=genome.norm.replace(eps=0.002)),
        genome.replace(head=genome.head.replace(match_iou=0.6)),
    ):
        assert not space.contains(other)


# --- fixed backbones --------------------------------------------------------------------------


def test_torchvision_s_ssdlite_is_in_the_space_of_its_backbone() -> None:
    """With ImageNet's weights torchvision takes the full tail; its input is scaled to -1…1."""
    deploy = {"mean": 0.5, "std": 0.5, "momentum": 0.03}
    space = MobileSpace(backbone="mobilenetv3-large", deploy=deploy)
    genome = zoo.genome("ssdlite320-mobilenetv3-large-full")
    assert space.contains(genome)
    taken = choices(space, space.encode(genome))
    expected = {"last": 16, "finest": 16, "rfcr": None, "extras": 4, "extra_width": 1.0}
    assert taken == expected | {"input": 320}
    assert not space.contains(zoo.genome("ssdlite320-mobilenetv3-large"))  # the halved tail


def test_a_fixed_backbone_is_deployed_as_its_weights_were_trained() -> None:
    """torchvision: MobileNetV2's batch norm is PyTorch's own, MobileNetV3's has eps 0.001."""
    found = {name: MobileSpace(backbone=name).settings.deploy for name in NAMES[:3]}
    assert {name: (d.eps, d.momentum) for name, d in found.items()} == {
        "mobilenetv2-1.0": (1e-5, 0.1),
        "mobilenetv3-large": (1e-3, 0.01),
        "mobilenetv3-small": (1e-3, 0.01),
    }
    assert {d.mean for d in found.values()} == {(0.485, 0.456, 0.406)}
    genome = MobileSpace(backbone="mobilenetv3-small").sample(random.Random(0))
    assert (genome.input.mean, genome.input.std[0], genome.norm.eps) == (
        *((0.485, 0.456, 0.406), 0.229, 1e-3),
    )
    given = MobileSpace(backbone="mobilenetv2-1.0", deploy={"eps": 0.5}).settings.deploy
    assert (given.eps, given.momentum) == (0.5, 0.1)


# --- settings, features, controllers ----------------------------------------------------------


def test_inputs_are_multiples_of_32_that_differ() -> None:
    assert [one.size for one in MobileSpace().inputs] == [192, 256, 320, 384]
    fixed = MobileSpace(deploy={"input_size": 160}, input_factors=(1.0,))
    assert [(one.size, one.resize) for one in fixed.inputs] == [(160, "stretch")]
    for wrong in ((1.0, 1.01), (0.1,), (16.0,)):
        with pytest.raises(ConfigError, match="they have to differ, and be 64 to 4096"):
            MobileSpace(input_factors=wrong)
    for none in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(ValueError, match="input_factors"):
            MobileSpace(input_factors=(none,))


def test_description_tells_spaces_apart() -> None:
    described = MobileSpace().describe()
    assert described == MobileSpace(variant="ibn+fused+tucker").describe()
    assert json.loads(json.dumps(described)) == described
    others: Sequence[dict[str, Any]] = (
        *(SPACES[name] for name in SPACES if name != "ibn+fused+tucker"),
        {"input_factors": (1.0,)},
        {"boxes": {"smallest": 0.1}},
        {"deploy": {"input_size": 640}},
    )
    spaces = [MobileSpace(**other).describe() for other in others]
    assert all(a != b for a, b in itertools.combinations([described, *spaces], 2))
    fixed: dict[str, Any] = {"backbone": "mobilenetv2-1.0"}
    assert MobileSpace(**fixed).describe() == MobileSpace(variant="ibn", **fixed).describe()


def test_features_of_mobiledet_cpu() -> None:
    """19 inverted bottlenecks, 5 of kernel 5; maps of 72 and 144 channels, and extra ones."""
    genome = zoo.genome("mobiledet-cpu")
    features = MobileSpace().features(genome)
    assert [features[f"layers{level}"] for level in range(1, 6)] == [2, 1, 4, 8, 5]
    assert (features["inverted_residual"], features["kernel5"], features["tucker"]) == (19, 5, 0)
    assert (features["depth"], features["extras"], features["collect"]) == (20, 4, 0)
    assert features["squeeze_excite"] == 19 and features["hard_swish"] == 20
    assert [2 ** features[f"channels{level}"] for level in (4, 5)] == pytest.approx([72, 144])
    cells = sum(side**2 for side in (20, 10, 5, 3, 2, 1))
    assert 2 ** features["places"] == pytest.approx(cells) and features["channels3"] == 0
    assert 2 ** features["side"] == pytest.approx(320)


def test_work_is_what_the_profile_counts() -> None:
    """Squeeze-excite is left out, which works on single pixels."""
    from nas.cost import profile

    space, rng = MobileSpace(), random.Random(8)
    for _ in range(30):
        genome = space.decode(
            tuple(
                0 if d.name.startswith("squeeze") or d.name == "rfcr" else i
                for d, i in zip(space.decisions, plain_code(space, rng), strict=True)
            )
        )
        features = space.features(genome)
        rows = [row for row in profile(genome).table if row.kind == "block"]
        own = [row for row in rows if not row.name.startswith("extra")]
        for level in range(1, 6):
            macs = sum(row.macs for row in own if row.level == level)
            assert features[f"work{level}"] == pytest.approx(math.log2(macs) if macs else 0.0)
        assert features["work"] == pytest.approx(math.log2(sum(row.macs for row in own)))


def plain_code(space: MobileSpace, rng: random.Random) -> Code:
    """A code without RFCR."""
    while True:
        code = space.sample_code(rng)
        if choices(space, code)["rfcr"] is None:
            return code


@pytest.mark.parametrize("name", CONTROLLERS)
def test_controllers_propose_legal_codes(name: str) -> None:
    space = MobileSpace()
    for code in fed(make_controller(ControllerSettings(name=name), space, 0), range(20)):
        space.check(code)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_controllers_propose_legal_codes_of_a_fixed_backbone(name: str) -> None:
    space = MobileSpace(backbone="mobilenetv3-large")
    for code in fed(make_controller(ControllerSettings(name=name), space, 0), range(40)):
        space.check(code)
