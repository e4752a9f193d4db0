"""The SpineNet space against the paper's counts, brute force and the published networks."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import islice, permutations, product
from typing import Any

import pytest

from nas.errors import ConfigError, GenomeError
from nas.genome import Genome
from nas.genome.listing import resolve
from search_spaces import zoo
from search_spaces.spinenet.listing import PermutedBlock, genome_from_listing
from search_spaces.spinenet.space import SpineNetSpace

VARIANTS = ("paper", "released", "released-v2")
MOBILE = {
    "block": "mobile",
    "endpoints": 48,
    "head_width": 48,
    "input_size": 384,
    "activation": "swish",
}


# --- size and masks ---------------------------------------------------------------------------


def test_size_without_a_window_is_the_paper_s_product() -> None:
    """10!·5!·Π C(i, 2)·4^10·2^15 ≈ 1.25e40, arXiv 1912.05027 section 3.1."""
    size = SpineNetSpace(window=0).size()
    pairs = math.prod(math.comb(i, 2) for i in range(2, 17))
    assert size == math.factorial(10) * math.factorial(5) * pairs * 4**10 * 2**15
    assert f"{size:.2e}" == "1.25e+40"


def test_size_with_the_paper_s_window() -> None:
    """An intermediate block picks two of the last five built; outputs pick from all."""
    near = math.prod(math.comb(min(i, 5), 2) for i in range(2, 12))
    far = math.prod(math.comb(i, 2) for i in range(12, 17))
    expected = math.factorial(10) * math.factorial(5) * near * far * 4**10 * 2**15
    assert SpineNetSpace().size() == expected


def test_size_counts_every_legal_code() -> None:
    """A walk over all codes of a cut-down space: types and outputs' parents held."""
    space = SpineNetSpace(intermediates=2, window=2)
    held = space.blocks + space.intermediates * 3  # permutations, then the intermediates' own
    prefixes: set[tuple[int, ...]] = {()}
    for _ in range(held):
        prefixes = {
            (*prefix, i) for prefix in prefixes for i, ok in enumerate(space.legal(prefix)) if ok
        }
    rest = math.prod(len(decision.choices) for decision in space.decisions[held:])
    assert len(prefixes) * rest == space.size()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_legal_path_decodes_to_a_valid_genome(variant: str) -> None:
    space, rng = SpineNetSpace(variant=variant), random.Random(7)
    count = 1000 if variant == "paper" else 100
    for _ in range(count):
        code: list[int] = []
        for decision in space.decisions:
            mask = space.legal(code)
            assert len(mask) == len(decision.choices)
            code.append(rng.choice([i for i, ok in enumerate(mask) if ok]))
        genome = space.decode(code)
        genome.validate()
        assert [tap.block for tap in genome.taps] == [
            block.id
            for level in (3, 4, 5, 6, 7)
            for block in genome.blocks[-5:]
            if block.level == level
        ]


def test_masks_forbid_exactly_what_was_placed() -> None:
    space = SpineNetSpace()
    assert space.legal(()) == (True,) * 10
    assert space.legal((3, 0)) == (False, True, True, False, *(True,) * 6)
    placed = tuple(range(10))
    assert space.legal(placed) == (True,) * 5
    assert space.legal((*placed, 4, 0)) == (False, True, True, True, False)
    assert set(space.legal((*placed, *range(5)))) == {True}


def test_decisions_stand_in_the_paper_s_order() -> None:
    names = [decision.name for decision in SpineNetSpace().decisions]
    assert len(names) == 10 + 5 + 10 + 15 + 15
    assert names[:15] == [f"intermediate{i}" for i in range(10)] + [f"output{i}" for i in range(5)]


# --- variants ---------------------------------------------------------------------------------


def test_the_paper_s_options() -> None:
    space = SpineNetSpace()
    assert Counter(space.base_levels) == {2: 1, 3: 3, 4: 5, 5: 1}
    assert (space.intermediates, space.window, space.offsets) == (10, 5, (-1, 0, 1, 2))
    assert space.types == ("bottleneck", "residual")


def test_google_s_released_options() -> None:
    """google/vertex-ai-nas, tunable_spinenet_search_space.py."""
    space = SpineNetSpace(variant="released")
    assert Counter(space.base_levels) == {2: 1, 3: 3, 4: 5, 5: 2}
    assert (space.intermediates, space.window, space.offsets) == (11, 4, (-1, 0, 1, 2))
    second = SpineNetSpace(variant="released-v2")
    assert Counter(second.base_levels) == {2: 1, 3: 3, 4: 5, 5: 1}
    assert (second.intermediates, second.window, second.offsets) == (10, 4, (-1, 0, 1))
    assert second.types == ("bottleneck",)


@pytest.mark.parametrize("window", [4, 5, -1])
def test_windows_are_as_released(window: int) -> None:
    """Block i may read [max(2 + i − w, 0), 2 + i) in sorted distinct pairs; outputs read all."""
    space = SpineNetSpace(window=max(window, 0))
    for i in range(15):
        first = max(2 + i - window, 0) if window > 0 and i < 10 else 0
        expected = [(a, b) for a in range(first, 2 + i) for b in range(a + 1, 2 + i)]
        assert list(space.parent_pairs(i)) == expected


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="released for 11"):
        SpineNetSpace(intermediates=11)
    settings: list[dict[str, Any]] = [{"window": -1}, {"intermediates": 0}, {"variant": "found"}]
    for broken in [*settings, {"windows": 3}]:
        with pytest.raises(ValueError, match=next(iter(broken))):
            SpineNetSpace(**broken)


def test_spaces_are_described_by_what_they_are() -> None:
    described = SpineNetSpace().describe()
    assert described == SpineNetSpace(intermediates=10, window=5).describe()
    others: list[dict[str, Any]]
    others = [{"window": 4}, {"intermediates": 9}, {"variant": "released"}]
    assert all(SpineNetSpace(**other).describe() != described for other in others)


# --- mobile blocks ----------------------------------------------------------------------------


def test_the_mobile_space_holds_spinenet_mobile_49() -> None:
    """Google's allocation for it: 11 intermediates, two more of them at level 5."""
    space = SpineNetSpace(variant="released-mobile", deploy=MOBILE)
    assert Counter(space.base_levels) == {2: 1, 3: 1, 4: 5, 5: 4}
    assert (space.intermediates, space.window, space.types) == (11, 4, ("inverted_residual",))
    genome = zoo.genome("spinenet-mobile-49")
    again = space.decode(space.encode(genome))
    assert again == genome.replace(name="")


def test_spinenet_mobile_49_is_listed_as_published() -> None:
    """tensorflow/tpu, spinenet_mbconv.py: level and parents, outputs last; 12 joins 15."""
    genome = zoo.genome("spinenet-mobile-49")
    rows = [
        (block.level, tuple(int(edge.block) for edge in block.inputs))
        for block in genome.blocks
        if block.rank
    ]
    assert rows == [
        *((2, (0, 1)), (2, (1, 2)), (4, (1, 2)), (3, (3, 4)), (4, (3, 5)), (6, (4, 6))),
        *((4, (4, 6)), (5, (7, 8)), (7, (7, 9)), (5, (9, 10)), (5, (9, 11))),
        *((4, (6, 11)), (3, (5, 11)), (5, (8, 13, 12)), (7, (6, 15)), (6, (13, 15))),
    ]
    assert [tap.block for tap in genome.taps] == ["14", "13", "15", "17", "16"]
    assert max(block.rank or 0 for block in genome.blocks) == 16


@pytest.mark.parametrize("variant", ["paper", "released-mobile"])
def test_mobile_codes_round_trip(variant: str) -> None:
    space, rng = SpineNetSpace(variant=variant, deploy=MOBILE), random.Random(3)
    for _ in range(60):
        genome = space.sample(rng)
        kinds = {block.op.type for block in genome.blocks[1:]}
        assert kinds == {"inverted_residual"}
        assert space.decode(space.encode(genome)) == genome
        assert set(space.features(genome)) == set(space.features(space.sample(rng)))


def test_mobile_says_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="block: mobile"):
        SpineNetSpace(variant="released-mobile")
    with pytest.raises(ValueError, match="repeats is 2"):
        SpineNetSpace(deploy={**MOBILE, "repeats": 2})
    space = SpineNetSpace(deploy=MOBILE)
    with pytest.raises(GenomeError, match="bottleneck"):
        space.encode(zoo.genome("spinenet-49"))


def test_descriptions_name_the_block_only_when_it_is_mobile() -> None:
    """Runs that began before there was a choice compare equal."""
    assert "block" not in SpineNetSpace().describe()["deploy"]
    assert SpineNetSpace(deploy=MOBILE).describe()["deploy"]["block"] == "mobile"


# --- codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("intermediates", [1, 2, 3])
def test_encode_returns_the_first_code_in_lexical_order(intermediates: int) -> None:
    """All codes are tried that differ in the ambiguous decisions: base blocks and offsets."""
    space = SpineNetSpace(intermediates=intermediates, window=0)
    rng = random.Random(intermediates)
    names = [decision.name for decision in space.decisions]
    offsets = [i for i, name in enumerate(names) if name.startswith("offset")]
    for _ in range(12):
        code = space.sample_code(rng)
        genome = space.decode(code)
        equal = []
        for labels in permutations(range(intermediates)):
            for steps in product(range(4), repeat=intermediates):
                other = list(code)
                other[:intermediates] = labels
                for place, step in zip(offsets, steps, strict=True):
                    other[place] = step
                if space.decode(other) == genome:
                    equal.append(tuple(other))
        assert code in equal
        assert space.encode(genome) == min(equal)


def test_with_one_intermediate_block_no_two_codes_are_one_genome() -> None:
    space = SpineNetSpace(intermediates=1, window=0)
    for code in islice(space.codes(), 0, 6000, 97):
        assert space.encode(space.decode(code)) == code


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_round_trip(variant: str) -> None:
    space, rng = SpineNetSpace(variant=variant), random.Random(11)
    for _ in range(60):
        code = space.sample_code(rng)
        genome = space.decode(code)
        first = space.encode(genome)
        assert space.decode(first) == genome
        assert first <= code
        assert space.encode(space.decode(first)) == first
        read_back = Genome.from_json(genome.to_json())
        assert space.encode(read_back) == first


def test_illegal_codes_are_refused() -> None:
    space = SpineNetSpace()
    code = space.sample_code(random.Random(0))
    broken: dict[str, tuple[int, ...]] = {
        "has 55 entries, this has 54": code[:-1],
        "this has 56": (*code, 0),
        "intermediate1": (code[0], code[0], *code[2:]),
        "output4": (*code[:14], code[10], *code[15:]),
        "offset0": (*code[:15], 4, *code[16:]),
        "parents14": (*code[:-1], 120),
        "intermediate0": (-1, *code[1:]),
    }
    for named, wrong in broken.items():
        with pytest.raises(GenomeError, match=named):
            space.decode(wrong)


# --- what it contains -------------------------------------------------------------------------


def test_spinenet_49_is_in_the_paper_s_space() -> None:
    space = SpineNetSpace()
    for name in ("spinenet-49", "r0-sp53"):
        genome = zoo.genome(name)
        assert space.contains(genome)
        assert space.decode(space.encode(genome)).key == genome.key


def test_windows_that_hold_the_published_networks() -> None:
    """SpineNet-49 needs a window of 4; R0-SP53's block 9 reads block 4, so it needs 5."""
    s49, r0 = zoo.genome("spinenet-49"), zoo.genome("r0-sp53")
    holds = {
        window: (
            SpineNetSpace(window=window).contains(s49),
            SpineNetSpace(window=window).contains(r0),
        )
        for window in (3, 4, 5, 0)
    }
    assert holds == {3: (False, False), 4: (True, False), 5: (True, True), 0: (True, True)}


def test_other_scales_and_repeats_are_other_spaces() -> None:
    space, s49 = SpineNetSpace(), zoo.genome("spinenet-49")
    assert not any(space.contains(zoo.genome(f"spinenet-{name}")) for name in ("49s", "96", "190"))
    for other in (
        s49.scaled(width=0.5),
        s49.scaled(alpha=1.0),
        s49.scaled(input_size=512),
        s49.scaled(head_width=64),
        s49.with_activation("swish"),
    ):
        assert not space.contains(other)
    repeated = SpineNetSpace(deploy={"repeats": 2, "input_size": 1024})
    assert repeated.contains(zoo.genome("spinenet-96"))


def test_the_released_spaces_do_not_hold_spinenet_49() -> None:
    genome = zoo.genome("spinenet-49")
    with pytest.raises(GenomeError, match="residual"):
        SpineNetSpace(variant="released-v2").encode(genome)
    assert not SpineNetSpace(variant="released").contains(genome)  # eleven intermediates


def test_a_genome_without_its_merge_is_not_in_the_space() -> None:
    genome = zoo.genome("spinenet-49")
    blocks = tuple(
        block.replace(inputs=block.inputs[:2]) if block.id == "14" else block
        for block in genome.blocks
    )
    assert not SpineNetSpace().contains(genome.replace(blocks=blocks))


# --- dangling blocks --------------------------------------------------------------------------


def merges(genome: Genome) -> list[tuple[str, str]]:
    """Direct edges into permuted blocks."""
    return [
        (edge.block, block.id)
        for block in genome.blocks
        for edge in block.inputs
        if block.rank is not None and edge.resample.type == "direct"
    ]


def test_merges_of_the_published_networks() -> None:
    """One each: 11 into P5 of SpineNet-49, 11 into P4 of R0-SP53."""
    assert merges(zoo.genome("spinenet-49")) == [("11", "14")]
    assert merges(zoo.genome("r0-sp53")) == [("11", "13")]


OUTPUTS = tuple(
    PermutedBlock(level, "bottleneck", (0, 1), output=True) for level in (3, 4, 5, 6, 7)
)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The level decides which output a loose block joins.
        ((PermutedBlock(4, "bottleneck", (0, 1)), *OUTPUTS), [("2", "4")]),
        # A residual has a quarter of a bottleneck's channels: it is dropped.
        ((PermutedBlock(4, "residual", (0, 1)), *OUTPUTS), []),
        # A residual joins a residual output.
        (
            (
                PermutedBlock(4, "residual", (0, 1)),
                OUTPUTS[0],
                PermutedBlock(4, "residual", (0, 1), output=True),
                *OUTPUTS[2:],
            ),
            [("2", "4")],
        ),
        # Two loose blocks of one level join the same output.
        (
            (
                PermutedBlock(5, "bottleneck", (0, 1)),
                PermutedBlock(5, "bottleneck", (0, 2)),
                *OUTPUTS,
            ),
            [("3", "6")],
        ),
        (
            (
                PermutedBlock(5, "bottleneck", (0, 1)),
                PermutedBlock(5, "bottleneck", (0, 1)),
                *OUTPUTS,
            ),
            [("2", "6"), ("3", "6")],
        ),
        # Level 2 has no output.
        ((PermutedBlock(2, "bottleneck", (0, 1)), *OUTPUTS), []),
        # An intermediate block takes nothing in, though it has the level.
        (
            (
                *(PermutedBlock(4, "bottleneck", (0, 1)),) * 2,
                PermutedBlock(3, "bottleneck", (2, 3)),
                *OUTPUTS,
            ),
            [("4", "5")],
        ),
        # An output's own parent is read, and isn't added twice.
        (
            (
                PermutedBlock(3, "bottleneck", (0, 1)),
                PermutedBlock(3, "bottleneck", (0, 2), output=True),
                *OUTPUTS[1:],
            ),
            [],
        ),
    ],
)
def test_loose_blocks_join_the_output_of_their_level(
    rows: tuple[PermutedBlock, ...], expected: list[tuple[str, str]]
) -> None:
    genome = genome_from_listing(rows)
    genome.validate()
    assert merges(genome) == expected


def test_a_dropped_block_is_out_of_the_network() -> None:
    genome = genome_from_listing((PermutedBlock(4, "residual", (0, 1)), *OUTPUTS))
    assert "2" in {block.id for block in genome.blocks}
    assert "2" not in resolve(genome)[0]
    assert "2" not in genome.graph()


def test_sampled_residuals_never_join_bottlenecks() -> None:
    space, rng, seen = SpineNetSpace(), random.Random(3), 0
    for _ in range(200):
        genome = space.sample(rng)
        blocks = {block.id: block for block in genome.blocks}
        for source, target in merges(genome):
            seen += 1
            assert blocks[source].op == blocks[target].op
            assert blocks[source].level == blocks[target].level
    assert seen > 20


# --- features ---------------------------------------------------------------------------------


def test_features_of_spinenet_49() -> None:
    """Levels 1, 2, 4, 4, 2, 2 of L2 to L7; 11 bottlenecks and 4 residuals; one merge."""
    space = SpineNetSpace()
    features = space.features(zoo.genome("spinenet-49"))
    levels = [features[f"level{level}"] for level in range(1, 8)]
    assert levels == [0, 1, 2, 4, 4, 2, 2]
    assert (features["bottleneck"], features["residual"], features["merges"]) == (11, 4, 1)
    assert features["up"] + features["down"] + features["same"] == 30
    # From level 4 to 3, 6 to 5, 7 to 5, 5 to 4 and 5 to 3.
    assert features["up"] == 5
