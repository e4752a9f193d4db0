"""What only training reads is built and trained, and every other reader leaves it out."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

import nas
from nas.cost import latency_ms
from nas.cost.latency.features import extent, family
from nas.cost.latency.table import DeviceTable
from nas.data.coco import Category
from nas.formats import export
from nas.genome import Genome
from nas.genome.parts import HEADS as PARTS
from nas.genome.plan import plan
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.models import Detector
from nas.models.registry import HEADS as MODULES
from nas.report.drawing.placement import lay_out
from nas.testing.heads import HeadSuite
from nas.training.memory import activation_bytes
from tests.models import guided
from tests.models.tiny import built, pictures

CATEGORIES = [Category(7, "one"), Category(9, "two"), Category(11, "three")]


@pytest.fixture(autouse=True)
def _a_head_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "guided", "tests.models.guided:GuidedHead")
    monkeypatch.setitem(MODULES, "guided", "tests.models.guided:Guided")


@pytest.fixture
def genome() -> Genome:
    return guided.genome(guided=True)


def plain() -> Genome:
    return guided.genome(guided=False)


def prefixes(genome: Genome) -> tuple[str, ...]:
    """What the weights that only training reads begin with."""
    (coach,) = (unit.name for unit in plan(genome) if unit.block and unit.block.id == "coach")
    return f"body.{coach}.", "head.guides."


def poisoned(model: Detector) -> Detector:
    """With weights that are no numbers, wherever only training reads them."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(prefixes(model.genome)):
                weight.fill_(torch.nan)
    return model


def test_the_builder_makes_it_and_training_reaches_it(genome: Genome) -> None:
    model = built(genome).train()
    boxes, labels = torch.tensor([[[5.0, 5, 40, 40]]] * 2), torch.tensor([[1], [2]])
    losses = model.losses(pictures(2, 64), boxes, labels)
    assert losses.keys() == {"classification", "box_regression", "guide"}
    torch.stack(list(losses.values())).sum().backward()
    apart = [n for n, _ in model.named_parameters() if n.startswith(prefixes(genome))]
    assert len(apart) == 5
    assert all(model.get_parameter(name).grad is not None for name in apart)
    assert activation_bytes(genome, 4, 2) > activation_bytes(plain(), 4, 2)


def test_evaluation_and_the_deployed_copy_leave_it_out(genome: Genome) -> None:
    model = built(genome).eval()
    with torch.no_grad():
        expected = [tensor.clone() for tensor in model.raw(pictures(2, 64))]
        for changed in (poisoned(model), poisoned(model).deployed()):
            for tensor, usual in zip(changed.raw(pictures(2, 64)), expected, strict=True):
                torch.testing.assert_close(tensor, usual, rtol=1e-4, atol=1e-6)
    names = [*model.deployed().state_dict()]
    assert names and not [name for name in names if name.startswith(prefixes(genome))]


def test_it_costs_nothing(genome: Genome) -> None:
    counts, bare = nas.profile(genome, num_classes=4), nas.profile(plain(), num_classes=4)
    assert (counts.params, counts.macs, counts.bits) == (bare.params, bare.macs, bare.bits)
    assert "coach" not in {row.name for row in counts.table}
    model = built(plain())
    assert counts.params == sum(weights.numel() for weights in model.parameters())
    table = a_table(genome)
    assert latency_ms(genome, table, 4) == latency_ms(plain(), table, 4) > 0


def test_the_key_knows_it_and_the_picture_leaves_it_grey(genome: Genome) -> None:
    assert genome.key != plain().key
    assert "coach" not in genome.graph() and "coach" in {block.id for block in genome.blocks}
    assert genome.graph().nodes.keys() == plain().graph().nodes.keys()
    drawn = lay_out(genome)
    assert drawn.dead == ("coach",) and lay_out(plain()).dead == ()
    assert {curve.child for curve in drawn.curves if not curve.alive} == {"coach"}


def test_files_have_it_only_where_they_are_the_architecture(genome: Genome, tmp_path: Path) -> None:
    model = poisoned(built(genome)).eval()
    in_json, in_onnx = export(model, CATEGORIES, tmp_path / "model", ["json", "onnx"])
    assert Genome.from_file(in_json) == genome
    graph = onnx.load(in_onnx).graph
    names = [weights.name.removeprefix("model.") for weights in graph.initializer]
    assert [name for name in names if name.startswith("body.")]
    assert not [name for name in names if name.startswith(prefixes(genome))]


class TestGuided(HeadSuite):
    """The suite, on a genome with a tap for training alone."""

    def make_part(self) -> object:
        return self.make_genome().head

    def make_genome(self) -> Genome:
        return guided.genome(guided=True)


def a_table(genome: Genome) -> DeviceTable:
    """A table in which every operator takes a hundredth of a millisecond."""
    tape = Tape()
    record_plan(tape, plan(genome), 4)
    largest: dict[str, float] = {}
    for operator in tape.operators:
        name = family(operator)
        largest[name] = max(extent(operator), largest.get(name, 1))
    families = {name: {"ms": {"calls": 0.01}, "largest": size} for name, size in largest.items()}
    protocol = {"rounds": 1, "warm_up": 0, "disturbed": 0, "load_before": None}
    accuracy = {"pieces": 0, "networks": 0, "piece_error": None, "network_error": None}
    measured = {"name": "x", "whole": False, "ms": 1, "p95_ms": 1}
    measured["operators"] = {"add 8@8 > 8@8": 1}
    return DeviceTable.model_validate(
        {"version": 2, "device": "a", "runtime": "b", "threads": 1, "precision": "c"}
        | {"overhead_ms": 0.0, "channel_block": 16, "near_bytes": 2**20, "families": families}
        | {"protocol": protocol, "accuracy": accuracy, "measured": [measured]}
    )
