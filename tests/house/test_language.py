"""The package keeps to the glossary."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas
from tests.house.language import (
    banned_names,
    banned_words,
    double_ticks,
    lost_names,
    trees,
    twin_classes,
)

ROOT = Path(nas.__file__).parents[1]

SOURCE = '''
"""A module; ``old`` style."""

class Pool:
    kept: int = 0

    def ask(self, told, *, said=None):
        self.answer = told
        for found in said:
            with open(found) as got:
                pass
        return [made for made in said if (seen := made)]

class _Pool:
    """`kept` is there."""
'''
GLOSSARY = """
| term | meaning | in code |
|---|---|---|
| pool | of workers | `Pool`, `Pool.kept`, `Pool.answer`, `nas.Pool` |
| ask | | `ask(…, told)`, `nas/rooms/pool.py`, `pool.py`, `nas/rooms/` |
| `Gone` | in another column | none |
| gone | | `Gone`, `Pool.gone`, `Other.kept`, `nas/gone.py`, `nas/ask/` |

## Not names of values

In the whole package:
`said`, `told`, `found`, `got`, `made`, `seen`, `known`.
"""


def test_no_value_has_a_banned_name() -> None:
    words = banned_words(ROOT)
    assert {"said", "told", "found", "given", "known"} <= words
    assert list(banned_names(trees(ROOT), words)) == []


def test_no_two_classes_share_a_name() -> None:
    assert twin_classes(trees(ROOT)) == {}


def test_there_is_one_kind_of_backtick() -> None:
    assert list(double_ticks(ROOT)) == []


def test_what_the_glossary_names_is_there() -> None:
    assert lost_names(ROOT, trees(ROOT)) == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package that breaks each rule."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text(GLOSSARY)
    (tmp_path / "nas" / "rooms").mkdir(parents=True)
    (tmp_path / "nas" / "rooms" / "pool.py").write_text(SOURCE)
    return tmp_path


def test_each_banned_name_is_seen(house: Path) -> None:
    seen = sorted(banned_names(trees(house), banned_words(house)))
    lines = [(7, "said"), (7, "told"), (9, "found"), (10, "got"), (12, "made"), (12, "seen")]
    assert seen == sorted(f"nas/rooms/pool.py:{line}: {word}" for line, word in lines)


def test_twins_double_backticks_and_lost_names_are_seen(house: Path) -> None:
    files = trees(house)
    assert twin_classes(files) == {"Pool": ["nas/rooms/pool.py:4", "nas/rooms/pool.py:14"]}
    assert list(double_ticks(house)) == ["nas/rooms/pool.py:2"]
    lost = ["Gone", "Pool.gone", "Other.kept", "nas/gone.py", "nas/ask/"]
    assert lost_names(house, files) == lost
