"""Counts what the glossary bans: names of values that don't say what they are, and twin classes.

python -m tests.house.language [ROOT]
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("nas", "proxies", "search_spaces")


def trees(root: Path) -> dict[str, ast.Module]:
    """The package's files, by their path from the root."""
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for room in ROOMS
        for path in sorted((root / room).rglob("*.py"))
    }


def banned_words(root: Path) -> frozenset[str]:
    """The words of the glossary's last section."""
    text = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    section = text.split("## Not names of values")[1].split("whole package:")[1]
    return frozenset(re.findall(r"`(\w+)`", section))


def banned_names(files: dict[str, ast.Module], banned: frozenset[str]) -> Iterator[str]:
    """Where a banned word names a local or an argument: `file:line: word`."""
    for file, tree in files.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.arg):
                name = node.arg
            else:
                continue
            if name in banned:
                yield f"{file}:{node.lineno}: {name}"


def twin_classes(files: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Classes whose name is used more than once, without leading underscores, with their places."""
    places = defaultdict(list)
    for file, tree in files.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{file}:{node.lineno}")
    return {name: where for name, where in places.items() if len(where) > 1}


def main(root: Path) -> None:
    """Prints both, and how many there are."""
    files = trees(root)
    names = list(banned_names(files, banned_words(root)))
    twins = twin_classes(files)
    print(*names, *(f"class {name}: {', '.join(at)}" for name, at in twins.items()), sep="\n")
    print(f"{len(names)} banned names, {len(twins)} names of several classes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
