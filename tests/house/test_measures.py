"""The table of counts, on a small house made here."""

from __future__ import annotations

from pathlib import Path

from tests.house.measures import measures, table

LOWER = """
def value(found):
    from nas.upper import Thing
    return Thing(found)

class Thing: ...
"""
UPPER = "from nas.lower import value\nclass _Thing: ...\nsaid, fine = value(1), 2\n"


def test_a_small_house(tmp_path: Path) -> None:
    for room in ("nas/deep", "nas/genome/parts", "proxies", "search_spaces"):
        (tmp_path / room).mkdir(parents=True)
    files = {
        "nas/__init__.py": "",
        "nas/__main__.py": "",
        "nas/lower.py": LOWER,
        "nas/upper.py": UPPER,
        "nas/deep/long.py": "x = 1\n" * 401,
        "nas/genome/parts/star.py": "class Part: ...\nclass Star(Part): ...\n",
        "proxies/asking.py": "isinstance(3, Star)\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert measures(tmp_path) == {
        "loose modules in nas/": 2,
        "source files": 7,
        "lines of source": 6 + 3 + 401 + 2 + 1,
        "source files over 400 lines": 1,
        "questions for a part's type": 1,
        "imports in functions because of a circle": 1,
        "class names used twice": 1,
        "locals and arguments of banned names": 2,
    }
    rows = table([tmp_path, tmp_path]).split("\n")
    assert len(rows) == 2 + 8 and rows[4] == "| lines of source | 413 | 413 |"
