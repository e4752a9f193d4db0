"""The lowering and the graph of the published networks: widths, middles, edges, order."""

from __future__ import annotations

import json

import networkx as nx
import pytest

from nas.errors import GenomeError
from nas.genome import Genome, plan
from nas.genome.memo import Memo
from nas.genome.parts import AlphaResample, Bottleneck, Endpoints, Residual, RetinaNetHead
from nas.genome.plan import lower
from nas.genome.widths import divisible
from search_spaces import zoo
from tests.genome.relisting import without_ranks

# tensorflow/tpu, spinenet.py: channels of levels 2, 3 and 4 to 7 (FILTER_SIZE_MAP times the width
# factor, truncated), and channels inside a resampling from those levels (times α, truncated).
WIDTHS = {
    "spinenet-49s": ((41, 83, 166), {20, 41, 83}),
    "spinenet-49": ((64, 128, 256), {32, 64, 128}),
    "spinenet-96": ((64, 128, 256), {32, 64, 128}),
    "spinenet-143": ((64, 128, 256), {64, 128, 256}),
    "spinenet-190": ((83, 166, 332), {83, 166, 332}),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_widths_and_middles_are_truncated_as_published(name: str) -> None:
    (second, third, rest), middles = WIDTHS[name]
    units = lower(zoo.genome(name))
    for unit in units:
        if isinstance(unit.part, Bottleneck | Residual):
            wanted = {2: second, 3: third}.get(unit.outs[0].level, rest)
            assert unit.width == wanted
            assert unit.outs[0].channels == wanted * (4 if unit.part.type == "bottleneck" else 1)
    assert {unit.middle for unit in units if unit.kind == "edge"} == middles
    stem = next(unit for unit in units if unit.block and unit.block.id == "stem")
    assert stem.outs[0].channels == 64  # never scaled


# Resampling of each permuted block's two parents in SpineNet-49, as published.
RESAMPLING = {
    "2": {"0": "same", "1": "same"},
    "3": {"0": "down 4", "1": "down 4"},
    "4": {"2": "down 2", "3": "up 2"},
    "5": {"2": "down 4", "4": "down 2"},
    "6": {"3": "down 4", "5": "down 4"},
    "7": {"3": "same", "5": "same"},
    "8": {"6": "up 2", "7": "down 2"},
    "9": {"6": "down 2", "8": "down 4"},
    "10": {"8": "same", "9": "up 4"},
    "11": {"8": "same", "10": "same"},
    "12": {"5": "same", "10": "up 2"},
    "13": {"4": "same", "10": "up 4"},
    "14": {"7": "down 2", "12": "down 2", "11": "direct"},
    "15": {"5": "down 8", "14": "down 4"},
    "16": {"12": "down 4", "14": "down 2"},
}


def test_the_graph_of_spinenet_49() -> None:
    graph = zoo.genome("spinenet-49").graph()
    for block, parents in RESAMPLING.items():
        found = {parent: data["resampling"] for parent, _, data in graph.in_edges(block, data=True)}
        assert found == parents
    readers = [graph.out_degree(str(i)) for i in range(17)]
    readers[0] -= 1  # the second stem block
    assert readers == [2, 2, 2, 3, 2, 4, 2, 2, 3, 1, 3, 1, 2, 0, 2, 0, 0]
    assert nx.is_directed_acyclic_graph(graph)
    assert {n for n, data in graph.nodes(data=True) if data["tap"]} == {
        *("12", "13", "14", "15", "16")
    }
    assert graph.nodes["14"] == {
        **{"level": 5, "type": "bottleneck", "width": 1024, "size": 20, "tap": True}
    }
    assert (graph.nodes["image"]["size"], graph.nodes["image"]["width"]) == (640, 3)


def test_a_parent_read_twice_is_one_edge_that_counts_two() -> None:
    genome = zoo.genome("spinenet-49")
    blocks = tuple(
        block.replace(inputs=(block.inputs[0], block.inputs[0])) if block.id == "16" else block
        for block in genome.blocks
    )
    assert genome.replace(blocks=blocks).graph().edges["12", "16"]["count"] == 2


@pytest.mark.parametrize("name", zoo.names())
def test_units_come_after_what_they_read(name: str) -> None:
    for units in (lower(zoo.genome(name)), plan(zoo.genome(name))):
        known = {"image"}
        for unit in units:
            assert {port.unit for port in unit.inputs} <= known
            assert unit.name.isidentifier()
            assert unit.name not in known
            known.add(unit.name)
        assert [unit.kind for unit in units].count("head") == 1
        assert units[-1].kind == "head"


def test_scaling_changes_what_it_says() -> None:
    genome = zoo.genome("spinenet-49")
    small = genome.scaled(width=0.25, alpha=0.25, head_width=64, input_size=128)
    assert small.scale.width == 0.25
    assert isinstance(small.neck, Endpoints) and small.neck.width == 64
    assert isinstance(small.head, RetinaNetHead) and small.head.width == 64
    assert small.input.size == 128
    alphas = {
        edge.resample.alpha
        for block in small.blocks
        for edge in block.inputs
        if isinstance(edge.resample, AlphaResample)
    }
    assert alphas == {0.25}
    assert genome.scaled() == genome
    assert genome.scaled(width=0.5).scaled(width=0.5) == genome.scaled(width=0.25)
    narrow = genome.scaled(neck_width=96, head_width=64)
    assert isinstance(narrow.neck, Endpoints) and narrow.neck.width == 96


def test_an_input_factor_keeps_inputs_apart() -> None:
    genome = zoo.genome("spinenet-49")
    inputs = [genome.scaled(input_size=side) for side in (256, 320, 384, 640)]
    halved = [each.scaled(input_factor=0.5).input.size for each in inputs]
    assert halved == [128, 160, 192, 320]
    # 134.4 and 147.2 are nearest to 128 and 160, of multiples of 32; the least is one of them.
    factors = (0.21, 0.23, 0.001)
    assert [genome.scaled(input_factor=f).input.size for f in factors] == [128, 160, 32]
    with pytest.raises(GenomeError, match=r"input_size 128 and input_factor 0\.5: give one"):
        genome.scaled(input_size=128, input_factor=0.5)


def test_another_activation_stands_everywhere() -> None:
    swish = zoo.genome("spinenet-49").with_activation("swish")
    text = swish.to_json()
    assert '"relu"' not in text
    assert text.count('"swish"') == zoo.genome("spinenet-49").to_json().count('"relu"')
    assert swish.with_activation("relu") == zoo.genome("spinenet-49")


@pytest.mark.parametrize(
    ("value", "expected"),
    # torchvision's _make_divisible: halves go up, never more than a tenth down.
    [
        (18, 24),
        (30, 32),
        (60, 64),
        (120, 120),
        (44.8, 48),
        (33.6, 32),
        (22.4, 24),
        (3, 8),
        (12, 16),
    ],
)
def test_widths_rounded_as_mobilenets_do(value: float, expected: int) -> None:
    assert divisible(value, 8) == expected


@pytest.mark.parametrize("name", zoo.names())
def test_json_is_pydantic_s_although_parts_are_put_together(name: str) -> None:
    genome = zoo.genome(name).replace(name='a "quoted" näme')
    for indent in (None, 2):
        document = json.loads(genome.to_json(indent))
        assert document == json.loads(genome.model_dump_json())
        assert list(document) == list(Genome.model_fields)


def test_genomes_are_values() -> None:
    first, second = zoo.genome("spinenet-49"), zoo.genome("SpineNet_49")
    assert first == second
    assert Genome.from_json(first.to_json().encode()) == first
    with pytest.raises(ValueError, match="frozen"):
        first.name = "other"


def test_what_is_remembered_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base = zoo.genome("spinenet-49")
    changed = [
        base.scaled(width=0.65),
        base.scaled(alpha=1.0),
        base.scaled(input_size=512),
        base.replace(scale=base.scale.replace(divisor=48)),
        base.replace(blocks=(*base.blocks[:-1], base.blocks[-1].replace(repeats=2))),
    ]
    genomes = [base, *changed, *map(zoo.genome, zoo.names())]
    documents = [genome.to_json() for genome in genomes]
    known = [(genome.key, lower(genome), plan(genome)) for genome in genomes]
    assert len({key for key, *_ in known[: 1 + len(changed)]}) == 1 + len(changed)
    monkeypatch.setattr("nas.genome.shapes._resolved", Memo(limit=0))
    for document, (key, lowered, planned) in zip(documents, known, strict=True):
        genome = Genome.from_json(document)
        assert genome.key == key
        assert lower(genome) == lowered and plan(genome) == planned


def test_shapes_are_remembered_whatever_blocks_are_called() -> None:
    genome = zoo.genome("spinenet-49")
    blocks = []
    for block in without_ranks(genome).blocks:
        edges = [edge.replace(block=edge.block.replace("1", "one")) for edge in block.inputs]
        blocks.append(block.replace(id=block.id.replace("1", "one"), inputs=tuple(edges)))
    taps = tuple(tap.replace(block=tap.block.replace("1", "one")) for tap in genome.taps)
    resolved = genome.replace(blocks=tuple(blocks), taps=taps).layout.resolved
    assert "one0" in resolved and [*resolved.values()] == [*genome.layout.resolved.values()]


def test_a_picture_too_small_is_refused_after_one_that_is_not() -> None:
    genome = zoo.genome("spinenet-49")
    genome.scaled(input_size=128).validate()
    with pytest.raises(GenomeError, match="at least 128 px"):
        genome.scaled(input_size=127).validate()
