"""Equal keys for, and only for, the same network; networkx judges what is the same."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import networkx as nx
import pytest

from nas.errors import GenomeError
from nas.genome import Genome
from nas.genome.blocks import Edge
from nas.genome.network import Scale, Truncation
from nas.genome.parts import Bottleneck, Conv, DefaultBoxes, Residual
from search_spaces import zoo
from search_spaces.spinenet.listing import PermutedBlock, genome_from_listing
from search_spaces.spinenet.space import SpineNetSpace
from tests.genome.counting import published
from tests.genome.relisting import judged, random_convolutions, relisted, same, without_ranks

# Stores hold keys for years: a change here makes every stored one worthless.
GOLDEN = {
    "spinenet-49s": "01105597376b43e9ff4b12e7eccb44d6aa1f96f99138fa38d3aa6bdf820f9d5a",
    "spinenet-49": "79e131f268d2b6966c7f2da99a109ae7dc8564aba52d1352088550897a43633f",
    "spinenet-96": "0c9707bda9eaffca37bd9d40eaecb3a1164a4481a1ae1bf7af141c1899a59c93",
    "spinenet-143": "a86105c89311d55e9575f7e659d68f18962fbd4d8dc7db5b1b8e9c103d43cc14",
    "spinenet-190": "5120364af979b2d62a5d99d6b5bf3249f0c0d62572af349f00d55e0c6a959cc6",
    "r0-sp53": "a7ba92f848184e5e42c69ad197329b598db4c4304b17d580aab0b970cccb037f",
    "spinenet-mobile-49": "14a0f27a79a4f39a898889575cf4beec981ce5eed3fbc7a2f73945a13905b3c1",
    "spinenet-mobile-49s": "e6cbf758830800b6fd14ca9cfd70122615f7d202db4bb789d4619c664b285265",
    "spinenet-mobile-49xs": "4c54a1edb6875917b7c8110f25259858efe6491ea01834200960cda409642936",
    "ssdlite320-mobilenetv3-large": (
        "8b5ff8d5796a565d4349dbdafff854303f6a083471393b0ef9898b0a2b14250e"
    ),
    "ssdlite320-mobilenetv3-large-full": (
        "b373590c87d553a581d9d196f7807d5d07e488cb20fc368f881b76d8b5385289"
    ),
    "mobiledet-cpu": "9ff8feb76cd0ce5ccb8f82915c1a608f90d17e7ad4fbfd9483231cf291780794",
    "mobiledet-edgetpu": "1b104c22010a0a26f5653a7682b982e9f352e09bdef40a8c867cf50f38d1d7e0",
    "mobiledet-dsp": "037c0481d32e2e2fe34773ffc0fc7dcd5912b43e82385505fdbe6dbdf60e91c9",
    "mobiledet-gpu": "7d2b99a22674d034cfb41c0c89f6b6bc50d685e8d76c7abba22e0a81c6885c3d",
    "yoloret-mobilenetv2-0.75": "74a83080aad5ed795bcc2f7f822d71f5d86465340d1fea6fe782bc757c9f7a25",
    "yoloret-mobilenetv2-1.4": "6adcc86e630446b5ca78830410bb920f94c32985bb0358add8505a9b7702c2ae",
}


@pytest.mark.parametrize("name", zoo.names())
def test_keys_of_the_zoo_never_change(name: str) -> None:
    assert zoo.genome(name).key == GOLDEN[name]


# --- equal ------------------------------------------------------------------------------------


def test_other_orders_and_names_keep_the_key() -> None:
    rng = random.Random(1)
    for name in ("spinenet-49", "ssdlite320-mobilenetv3-large", "mimicdet-spinenet-49"):
        genome = published(name)
        for _ in range(10):
            assert relisted(genome, rng).key == genome.key


def test_two_independent_blocks_may_stand_in_either_order() -> None:
    genome = zoo.genome("spinenet-49")  # 2 and 3 both read 0 and 1
    blocks = list(genome.blocks)
    place = [block.id for block in blocks].index("2")
    assert blocks[place + 1].id == "3"
    blocks[place : place + 2] = reversed(blocks[place : place + 2])
    swapped = genome.replace(blocks=tuple(blocks))
    assert swapped != genome
    assert swapped.key == genome.key


def test_the_order_of_a_sum_s_parents_does_not_matter() -> None:
    genome = zoo.genome("spinenet-49")
    turned = tuple(block.replace(inputs=block.inputs[::-1]) for block in genome.blocks)
    assert genome.replace(blocks=turned).key == genome.key


def test_the_order_of_a_concatenation_s_parents_matters() -> None:
    genome = published("ssd300-vgg16")
    blocks = {block.id: block for block in genome.blocks}
    for combine, equal in (("sum", True), ("concat", False), ("weighted_sum", True)):
        edges = (Edge(block="conv1_1"), Edge(block="conv1_2"))
        two = [
            genome.replace(
                blocks=tuple(
                    b.replace(inputs=order, combine=combine) if b.id == "pool1" else b
                    for b in blocks.values()
                )
            ).key
            for order in (edges, edges[::-1])
        ]
        assert (two[0] == two[1]) is equal


def test_the_same_widths_through_another_scale_keep_the_key() -> None:
    genome = zoo.genome("spinenet-190")  # width ×1.3: 83, 166, 332
    assert genome.scale.width == 1.3
    widths = {64: 83, 128: 166, 256: 332}
    blocks = []
    for block in genome.blocks:
        op = block.op
        if isinstance(op, Bottleneck | Residual):
            op = op.replace(width=widths[op.width])
        if isinstance(op, Conv):
            op = op.replace(scalable=True)  # at ×1 it doesn't matter
        blocks.append(block.replace(op=op))
    assert genome.replace(blocks=tuple(blocks), scale=Scale()).key == genome.key


def test_an_alpha_that_gives_the_same_middle_keeps_the_key() -> None:
    genome = zoo.genome("spinenet-49")
    assert genome.scaled(alpha=0.5001).key == genome.key
    assert genome.scaled(alpha=0.52).key != genome.key


def test_truncated_equals_shorter() -> None:
    genome = published("mobilenetv2-0.75-rfcr")
    shorter = genome.replace(
        truncation=None, blocks=tuple(b for b in genome.blocks if b.id not in ("block_16", "last"))
    )
    assert genome.truncation is not None
    assert shorter.key == genome.key == genome.replace(truncation=None).key  # nobody reads the rest


def test_readers_of_truncated_blocks_read_what_is_left() -> None:
    genome = published("ssd300-vgg16")
    cut = genome.replace(truncation=Truncation(after="conv5_1", through="conv5_3"))
    blocks = [b for b in genome.blocks if b.id not in ("conv5_2", "conv5_3")]
    by_hand = [
        b.replace(inputs=(Edge(block="conv5_1"),)) if b.id == "pool5" else b  #
        for b in blocks
    ]
    assert cut.key == genome.replace(blocks=tuple(by_hand)).key != genome.key


def test_blocks_that_reach_no_tap_do_not_count() -> None:
    genome = zoo.genome("spinenet-49")
    spare = genome.blocks[-1].replace(id="spare")
    assert genome.replace(blocks=(*genome.blocks, spare)).key == genome.key


# --- different --------------------------------------------------------------------------------


def test_a_merge_counts() -> None:
    genome = zoo.genome("spinenet-49")
    blocks = {block.id: block for block in genome.blocks}
    fourteen = blocks["14"]
    without = blocks | {"14": fourteen.replace(inputs=fourteen.inputs[:2])}
    twelve = blocks["14"].replace(
        inputs=(*fourteen.inputs[:2], fourteen.inputs[2].replace(block="10"))
    )
    keys = {
        genome.key,
        genome.replace(blocks=tuple(without.values())).key,
        genome.replace(blocks=tuple((blocks | {"14": twelve}).values())).key,
    }
    assert len(keys) == 3


def test_one_block_read_twice_differs_from_two_equal_blocks_read_once() -> None:
    base = random_convolutions(random.Random(0), 1)
    stem = base.blocks[0]
    left, right = (
        stem.replace(id="l", inputs=(_at("b0"),)),
        stem.replace(id="r", inputs=(_at("b0"),)),
    )
    twice = stem.replace(id="top", inputs=(_at("l"), _at("l")))
    once = stem.replace(id="top", inputs=(_at("l"), _at("r")))
    tap = base.taps[0].replace(block="top")
    head = base.head.replace(anchors=base.head.anchors[:1])
    first = base.replace(blocks=(stem, left, twice), taps=(tap,), head=head)
    second = base.replace(blocks=(stem, left, right, once), taps=(tap,), head=head)
    assert first.key != second.key


def _at(name: str) -> Edge:
    return Edge(block=name)


# Fields that the resolved network doesn't read, each with the reason.
UNREAD = {
    "name": "a label",
    "version": "of the file",
    "scale.divisor": "the widths are multiples of 8 already",
    "op.scalable": "the scale is 1",
    "op.ceil": "of the shortcut's pool, which isn't there, or of a pool padded as TensorFlow does",
    "resample.pool_padding": "only an edge that goes down by 4 or more has a pool",
    "op.padding": "spelt out, the same padding",
}

# Other legal values by field; numbers, switches and graph edges are found by rule.
OTHER: dict[str, list[Any]] = {
    "activation": ["swish", "relu6"],
    "fuse_activation": ["swish", "none"],
    "project_activation": ["relu"],
    "gate": ["sigmoid"],
    "resize": ["stretch", "letterbox"],
    "precision": ["binary"],
    "shortcut": ["identity"],
    "of": ["input"],
    "combine": ["weighted_sum"],
    "point": ["expand", "out"],
    "padding": ["same", 1, 2, 3],
    "pool_padding": ["symmetric"],
    "rank": [99],
    "squeeze_excite": [{}, None],
    "transform": [{"type": "l2_norm"}, {"type": "pool", "stride": 1}],
    "truncation": [{"after": "11", "through": "12"}],
    "step": [17.0],
    "box_values": [8],
    "stride": [1, 2, 4],
    "resample": [],
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every field of a dumped genome, with its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list | tuple) and value:
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    else:
        yield path, value


def alternatives(path: tuple[Any, ...], value: Any, ids: list[str]) -> list[Any]:
    """Other values that the field may take."""
    field = next(step for step in reversed(path) if isinstance(step, str))
    if field == "block":
        return [name for name in reversed(ids) if name != value]
    if field in OTHER:
        found = OTHER[field]
    elif isinstance(value, bool):
        found = [not value]
    elif isinstance(value, int):
        found = [value + 1, 2 * value, value - 1]
    elif isinstance(value, float):
        found = [1.5 * value, value / 2]
    else:
        found = []
    return [other for other in found if other != value]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[path[0]] = replaced(document[path[0]], path[1:], value)
    return copied


def changed_fields(genome: Genome) -> Iterator[tuple[str, Genome]]:
    """The genome with one field changed, for each field that can be changed alone."""
    document = genome.model_dump(mode="json")
    ids = [block.id for block in genome.blocks]
    for path, value in leaves(document):
        for other in alternatives(path, value, ids):
            try:
                changed = Genome.model_validate(replaced(document, path, other))
                changed.validate()
            except (GenomeError, ValueError):
                continue
            yield ".".join(str(step) for step in path), changed
            break


@pytest.mark.parametrize("name", ["spinenet-49", "ssdlite320-mobilenetv3-large"])
def test_every_field_counts(name: str) -> None:
    genome = published(name)
    equal, tried = [], set()
    for path, changed in changed_fields(genome):
        tried.add(".".join(step for step in path.split(".") if not step.isdigit()))
        if changed.key == genome.key:
            equal.append(path)
    assert not [path for path in equal if not path.endswith(tuple(UNREAD))]
    assert len(tried) >= 30, tried


def test_the_pool_s_padding_counts_where_there_is_a_pool() -> None:
    genome = published("spinenet-49")
    counting = 0
    for path, changed in changed_fields(genome):
        counting += path.endswith("pool_padding") and changed.key != genome.key
    # Ratios of 4 and 8 in SpineNet-49: both edges of 3 and 6; 5, 9, 15 twice, 16.
    assert counting == 9


def test_types_count() -> None:
    genome = zoo.genome("spinenet-49")
    keys = {genome.key}
    for i, block in enumerate(genome.blocks):
        if isinstance(block.op, Bottleneck) and block.id not in ("0", "11"):
            op = Residual(width=block.op.width)
            blocks = (*genome.blocks[:i], block.replace(op=op), *genome.blocks[i + 1 :])
            if block.id == "14":
                continue  # its merge fits a bottleneck alone
            keys.add(genome.replace(blocks=blocks).key)
    assert len(keys) == 11


def test_squares_spelt_out_keep_the_key_and_others_change_it() -> None:
    genome = published("ssdlite320-mobilenetv3-large")
    first, *rest = genome.head.anchors
    assert isinstance(first, DefaultBoxes)

    def key(**changes: Any) -> str:
        return genome.replace(
            head=genome.head.replace(anchors=(first.replace(**changes), *rest))
        ).key

    assert key(squares=first.square_scales) == genome.key
    assert key(squares=(0.1,)) != genome.key
    assert key(squares=(0.1,)) == key(squares=(0.1,), next_scale=0.9)  # which nothing reads then


# --- the judge --------------------------------------------------------------------------------


def agree(genomes: list[Genome]) -> tuple[int, int]:
    """Checks keys against networkx for every pair; returns counts of equal and other pairs."""
    graphs = [judged(genome) for genome in genomes]
    # What differs in counts can't be isomorphic, and takes no matching.
    coarse = [
        (
            len(g),
            g.size(),
            sorted(d for _, d in g.degree()),
            sorted(nx.get_node_attributes(g, "what").values()),
        )
        for g in graphs
    ]
    equal = different = 0
    for i, j in combinations(range(len(genomes)), 2):
        if coarse[i] != coarse[j]:
            assert genomes[i].key != genomes[j].key
            continue
        isomorphic = same(graphs[i], graphs[j])
        assert isomorphic == (genomes[i].key == genomes[j].key), (genomes[i], genomes[j])
        equal += isomorphic
        different += not isomorphic
    return equal, different


@pytest.mark.parametrize("blocks", [3, 4, 5, 6])
def test_keys_agree_with_networkx_on_symmetric_graphs(blocks: int) -> None:
    rng = random.Random(blocks)
    genomes = [random_convolutions(rng, blocks) for _ in range(120)]
    genomes += [relisted(genome, rng) for genome in genomes[:30]]
    equal, different = agree(genomes)
    assert equal >= 30
    assert different >= 10


@pytest.mark.parametrize("intermediates", [2, 3])
def test_keys_agree_with_networkx_on_small_spaces(intermediates: int) -> None:
    """Without ranks, so that blocks are told apart by the graph alone."""
    space = SpineNetSpace(intermediates=intermediates, window=0)
    rng = random.Random(intermediates)
    for _ in range(150):
        code = space.sample_code(rng)
        genome = without_ranks(space.decode(code))
        other = without_ranks(space.decode(mutated(space, code, rng)))
        again = relisted(genome, rng)
        assert again.key == genome.key
        assert same(judged(again), judged(genome))
        assert (other.key == genome.key) == same(judged(other), judged(genome))


def mutated(space: SpineNetSpace, code: tuple[int, ...], rng: random.Random) -> tuple[int, ...]:
    """Another choice at one decision; in a permutation, two places swapped."""
    place = rng.randrange(len(code))
    changed = list(code)
    if place < space.blocks:
        first, size = (
            (0, space.intermediates) if place < space.intermediates else (space.intermediates, 5)
        )
        i, j = (first + rng.randrange(size) for _ in range(2))
        changed[i], changed[j] = changed[j], changed[i]
    else:
        changed[place] = rng.randrange(len(space.decisions[place].choices))
    return tuple(changed)


def check_samples(count: int, seed: int) -> int:
    """Relisted genomes keep the key; mutated ones change it if, and only if, the graph does."""
    space, rng, differing = SpineNetSpace(), random.Random(seed), 0
    for _ in range(count):
        code = space.sample_code(rng)
        genome, other = space.decode(code), space.decode(mutated(space, code, rng))
        assert relisted(genome, rng).key == genome.key
        isomorphic = other == genome or same(judged(other), judged(genome))
        assert (other.key == genome.key) == isomorphic
        differing += not isomorphic
    return differing


def test_sampled_genomes() -> None:
    assert check_samples(250, seed=0) > 125


@pytest.mark.slow
def test_5000_sampled_genomes() -> None:
    assert check_samples(5000, seed=1) > 2500


def test_sampled_genomes_have_keys_of_their_own() -> None:
    space, rng = SpineNetSpace(), random.Random(5)
    by_key = defaultdict(list)
    for _ in range(500):
        genome = space.sample(rng)
        by_key[genome.key].append(genome)
    assert len(by_key) == 500


# --- symmetry ---------------------------------------------------------------------------------


def parallel_chains(count: int) -> Genome:
    """Equal chains of two convolutions side by side, summed."""
    base = random_convolutions(random.Random(0), 1)
    stem = base.blocks[0]
    blocks = [stem]
    for i in range(count):
        blocks.append(stem.replace(id=f"a{i}", inputs=(_at("b0"),)))
        blocks.append(stem.replace(id=f"z{i}", inputs=(_at(f"a{i}"),)))
    blocks.append(stem.replace(id="top", inputs=tuple(_at(f"z{i}") for i in range(count))))
    return base.replace(
        blocks=tuple(blocks),
        taps=(base.taps[0].replace(block="top"),),
        head=base.head.replace(anchors=base.head.anchors[:1]),
    )


def test_equal_chains_side_by_side_have_a_key() -> None:
    genome = parallel_chains(5)
    assert relisted(genome, random.Random(0)).key == genome.key != parallel_chains(4).key


def test_sixty_equal_blocks_side_by_side_are_no_trouble() -> None:
    base = parallel_chains(1)
    stem = base.blocks[0]
    twins = [stem.replace(id=f"t{i}", inputs=(_at("b0"),)) for i in range(60)]
    top = stem.replace(id="top", inputs=tuple(_at(twin.id) for twin in twins))
    genome = base.replace(blocks=(stem, *twins, top))
    assert relisted(genome, random.Random(0)).key == genome.key


def test_too_much_symmetry_is_refused_soon() -> None:
    began = time.process_time()
    with pytest.raises(GenomeError, match="symmetric"):
        _ = parallel_chains(16).key
    assert time.process_time() - began < 10


# --- the listing ------------------------------------------------------------------------------


def test_the_listing_s_order_of_a_merge_is_resolved_before_the_key() -> None:
    """An unread block joins the output built after it; if built later, it is dropped."""
    outputs = tuple(
        PermutedBlock(level, "bottleneck", (0, 1), output=True) for level in (3, 4, 5, 6, 7)
    )
    loose = PermutedBlock(4, "bottleneck", (0, 1))
    before = genome_from_listing((loose, *outputs))
    after = genome_from_listing((*outputs, loose))
    assert without_ranks(before).key != without_ranks(after).key
    assert without_ranks(after).key == without_ranks(genome_from_listing(outputs)).key
