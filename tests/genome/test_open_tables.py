"""A part of another package: read, keyed, counted, timed, drawn and built like one of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.cost import families, profile
from nas.errors import GenomeError
from nas.genome import Genome
from nas.genome.parts import ANCHORS, HEADS, NECKS, OPERATIONS, RESAMPLES, TRANSFORMS
from nas.genome.plan import plan
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.models import build, registry
from nas.models.registry import BLOCKS
from nas.report.drawing.draw import svg
from search_spaces import zoo

PARTS = '''
from typing import ClassVar, Literal

from nas.genome.part import Activation, Stride, Width
from nas.genome.parts import Operation, Style, Window


class Crossed(Operation):
    """A column and a row of the same filters' number, as two depthwise 3x3, and a 1x1."""

    type: Literal["crossed"] = "crossed"
    width: Width
    stride: Stride = 1
    arms: int = 2
    activation: Activation = "relu"

    style: ClassVar[Style] = Style("crossed", "hexagon", "#abcdef", "#123456")

    @property
    def window(self):
        return Window(3, self.stride)

    def record(self, tape, x, width, stride):
        arms = [tape.depthwise(x, 3, stride) for _ in range(self.arms)]
        return (tape.conv(tape.add(arms), width, activation=self.activation),)
'''

MODULES = """
from torch import nn

from nas.models.layers import ConvNorm


class CrossedBlock(nn.Module):
    def __init__(self, op, at):
        super().__init__()
        self.arms = nn.ModuleList(
            ConvNorm(at.channels, at.channels, 3, at.norm, stride=at.stride, groups=at.channels)
            for _ in range(op.arms)
        )
        self.project = ConvNorm(at.channels, at.width, 1, at.norm, op.activation)

    def forward(self, x):
        return self.project(sum(arm(x) for arm in self.arms))
"""


@pytest.fixture
def crossed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another package's block, in both tables."""
    folder = tmp_path / "their_blocks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "crossed.py").write_text(PARTS)
    (folder / "modules.py").write_text(MODULES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(OPERATIONS, "crossed", "their_blocks.crossed:Crossed")
    monkeypatch.setitem(BLOCKS, "crossed", "their_blocks.modules:CrossedBlock")
    yield
    for name in [name for name in sys.modules if name.startswith("their_blocks")]:
        del sys.modules[name]


def document(**op: Any) -> dict[str, Any]:
    """A stem, the block with this operation, and an SSD head on 16 px."""
    stem = {"type": "conv", "width": 8, "stride": 2}
    boxes = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}
    return {
        "input": {"size": 64},
        "blocks": [
            {"id": "stem", "level": 1, "op": stem, "inputs": [{"block": "image"}]},
            {
                "id": "theirs",
                "level": 2,
                "op": {"type": "crossed", "width": 12, "stride": 2, **op},
                "inputs": [{"block": "stem"}],
                "repeats": 2,
            },
        ],
        "taps": [{"block": "theirs"}],
        "head": {"type": "ssd", "anchors": [boxes]},
    }


@pytest.mark.usefixtures("crossed")
def test_a_block_of_theirs_is_read_and_written() -> None:
    genome = Genome.model_validate(document(arms=3))
    again = Genome.from_json(genome.to_json())
    assert again == genome and again.to_json(indent=1) == genome.to_json(indent=1)
    assert '"type":"crossed","width":12,"stride":2,"arms":3' in genome.to_json()
    assert genome.key == again.key
    assert genome.key != Genome.model_validate(document(arms=2)).key
    # A field at its default leaves the key alone, so that it may be added later.
    assert Genome.model_validate(document(arms=2)).key == Genome.model_validate(document()).key
    block = genome.blocks[1]
    assert block.replace(level=2) == block and type(block.op).__name__ == "Crossed"
    assert genome.graph().nodes["theirs"]["type"] == "crossed"


@pytest.mark.usefixtures("crossed")
def test_a_block_of_theirs_is_counted_by_its_operators() -> None:
    genome = Genome.model_validate(document())
    rows = {row.name: row for row in profile(genome).table}
    # Two copies of two depthwise 3×3 and a 1×1, batch norms on all, at 16 px.
    first, second = 2 * 9 * 8 + 8 * 12, 2 * 9 * 12 + 12 * 12
    assert rows["theirs"].params == first + second + 2 * (2 * 8 + 12) + 2 * (2 * 12 + 12)
    assert rows["theirs"].macs == (first + second) * 16**2
    assert (rows["theirs"].channels, rows["theirs"].size) == (12, 16)
    model = build(genome, 91)
    assert profile(genome).params == sum(p.numel() for p in model.parameters())
    tape = Tape()
    record_plan(tape, plan(genome), 91)
    kinds = [operator.kind for operator in tape.operators]
    assert kinds.count("depthwise k3 s2") == kinds.count("depthwise k3 s1") == 2
    assert families(genome)["depthwise k3 s2"] == 9 * 8 * 16**2


@pytest.mark.usefixtures("crossed")
def test_a_block_of_theirs_is_built_and_drawn() -> None:
    genome = Genome.model_validate(document())
    model = build(genome, 3)
    images = [torch.rand(3, 64, 64)]
    targets = [{"boxes": torch.tensor([[5.0, 5, 40, 40]]), "labels": torch.tensor([1])}]
    torch.stack(list(model(images, targets).values())).sum().backward()
    assert all(p.grad is not None for p in model.body.parameters())
    picture = svg(genome)
    assert "block-theirs" in picture and "#abcdef" in picture and "crossed" in picture


@pytest.mark.usefixtures("crossed")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 0}, ["blocks.1.op.crossed.width", "greater than or equal to 1", "met '0'"]),
        ({"rays": 3}, ["blocks.1.op.crossed.rays", "no such field"]),
        ({"type": "crosed"}, ["blocks.1.op", "'crosed'", "'conv'", "'tucker', 'crossed'"]),
    ],
)
def test_what_is_wrong_with_theirs_is_told_like_ours(
    change: dict[str, Any], says: list[str]
) -> None:
    with pytest.raises(GenomeError) as refused:
        Genome.from_json(json.dumps(document(**change)), "their.json")
    message = str(refused.value)
    assert "\n" not in message and all(text in message for text in ["their.json", *says]), message


def test_a_type_that_is_in_no_table_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.tables.import_module", pytest.fail)
    for name in ("crossed", "os:system", "their_blocks.crossed:Crossed", "", None, 3, ["conv"]):
        with pytest.raises(ValueError, match=r"blocks\.1\.op"):
            Genome.model_validate(document(type=name))


OTHERS = """
from typing import Literal

from nas.genome import parts


class TheirEdge(parts.AlphaResample):
    type: Literal["their_edge"] = "their_edge"


class TheirTransform(parts.Pool):
    type: Literal["their_transform"] = "their_transform"


class TheirNeck(parts.Endpoints):
    type: Literal["their_neck"] = "their_neck"


class TheirAnchors(parts.OctaveAnchors):
    type: Literal["their_anchors"] = "their_anchors"


class TheirHead(parts.RetinaNetHead):
    type: Literal["their_head"] = "their_head"
"""


def test_every_kind_of_part_may_be_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_others.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_others", raising=False)
    ours = json.loads(zoo.genome("spinenet-49").to_json())
    ours["taps"][-1] |= {"block": ours["taps"][-2]["block"], "transform": {"type": "pool"}}
    text = json.dumps(ours)
    for table, builders, old, kind in (
        (RESAMPLES, registry.EDGES, "alpha", "Edge"),
        (TRANSFORMS, registry.NECKS, "pool", "Transform"),
        (NECKS, registry.NECKS, "endpoints", "Neck"),
        (ANCHORS, dict[str, str](), "octave", "Anchors"),
        (HEADS, registry.HEADS, "retinanet", "Head"),
    ):
        new = f"their_{kind.lower()}"
        monkeypatch.setitem(table, new, f"their_others:Their{kind}")
        monkeypatch.setitem(builders, new, builders.get(old, ""))
        text = text.replace(f'"type": "{old}"', f'"type": "{new}"')
    theirs, same = Genome.from_json(text), Genome.model_validate(ours)
    assert text.count('"their_') == theirs.to_json().count('"their_') > 30
    assert theirs.key != same.key and Genome.from_json(theirs.to_json()).key == theirs.key
    assert profile(theirs).costs() == profile(same).costs()
    small: Any = {"width": 1 / 16, "alpha": 0.25, "head_width": 16, "input_size": 128}
    model, wanted = (build(genome.scaled(**small), 3) for genome in (theirs, same))
    shapes = [[tuple(p.shape) for p in one.parameters()] for one in (model, wanted)]
    assert shapes[0] == shapes[1] and set(model.state_dict()) == set(wanted.state_dict())


def test_a_type_of_ours_stays_ours() -> None:
    with pytest.raises(ValueError, match="'conv' is nas"):
        OPERATIONS["conv"] = "their_blocks.crossed:Crossed"


def test_the_tables_hold_what_the_schema_has() -> None:
    for table in (OPERATIONS, RESAMPLES, TRANSFORMS, NECKS, ANCHORS, HEADS):
        for name in table:
            assert table.load(name).model_fields["type"].default == name
