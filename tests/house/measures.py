"""Counts of the house, as a table with a column for each checkout.

python -m tests.house.measures [ROOT …]

All counts are of `nas/`, `proxies/` and `search_spaces/`, over the syntax tree; the words that may
not be names are those of this checkout's glossary, for older ones too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.house.circles import circular
from tests.house.language import ROOMS, banned_names, banned_words, trees, twin_classes
from tests.house.part_questions import questions

HERE = Path(__file__).parents[2]
LONG = 400
"""Lines that a file has at most."""


def measures(root: Path) -> dict[str, int]:
    """Returns the counts of a checkout by name."""
    files = trees(root)
    sizes = [
        len(path.read_text(encoding="utf-8").splitlines())
        for room in ROOMS
        for path in (root / room).rglob("*.py")
    ]
    loose = [path for path in (root / "nas").glob("*.py") if not path.stem.startswith("__")]
    return {
        "loose modules in nas/": len(loose),
        "source files": len(sizes),
        "lines of source": sum(sizes),
        f"source files over {LONG} lines": sum(size > LONG for size in sizes),
        "questions for a part's type": len(questions(root)),
        "imports in functions because of a circle": len(circular(root)),
        "class names used twice": len(twin_classes(files)),
        "locals and arguments of banned names": len(list(banned_names(files, banned_words(HERE)))),
    }


def table(roots: list[Path]) -> str:
    """Returns a table in Markdown."""
    columns = [measures(root) for root in roots]
    lines = [
        f"| | {' | '.join(str(root) for root in roots)} |",
        f"|---|{'---:|' * len(roots)}",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{column[name]:,}' for column in columns)} |"
        for name in columns[0]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([Path(word) for word in sys.argv[1:]] or [HERE]))
