"""Nobody has to know a part's type to use it: what still asks is counted."""

from __future__ import annotations

from pathlib import Path

import nas
from tests.house.part_questions import questions

ROOT = Path(nas.__file__).parents[1]
MOST = 12

PART = """
class Part: ...
class Operation(Part):
    type: str
class Star(Operation):
    type: Literal["star_block"] = "star_block"
    width: int
"""
ASKING = """
isinstance(op, Star)
isinstance(op, (int, Operation))
isinstance(value, int)
type(op) is Star
COSTS[type(op)]
op.type == "star_block"
op.type in legal
kind == "star_block"
device.type == "cuda"
@singledispatch
def cost(op): ...
match op:
    case Star(width=3): ...
"""


def test_few_places_ask_for_a_part_s_type() -> None:
    asked = questions(ROOT)
    assert len(asked) <= MOST, "\n".join(f"{q.file}:{q.line}: {q.text}" for q in asked)


def test_every_way_of_asking_is_counted(tmp_path: Path) -> None:
    for name in ("nas/genome/parts", "nas/models/blocks", "nas/cost", "proxies", "search_spaces"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "nas/genome/parts/star.py").write_text(PART)
    (tmp_path / "nas/models/blocks/star.py").write_text("isinstance(op, Star)\n")
    (tmp_path / "nas/cost/units.py").write_text(ASKING)
    lines = ASKING.split("\n")
    harmless = ("isinstance(value, int)", 'device.type == "cuda"')
    assert {lines[q.line - 1] for q in questions(tmp_path)} == {
        line for line in lines if line and line not in harmless
    } - {"def cost(op): ...", "match op:"}
