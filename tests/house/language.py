"""Finds what the glossary bans: names of values that don't say what they are, twins, lost names.

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


def double_ticks(root: Path) -> Iterator[str]:
    """Where text is set in two backticks, as reStructuredText has it: `file:line`."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if re.search(r"(?<!`)``(?!`)", line):
                    yield f"{path.relative_to(root).as_posix()}:{number}"


def lost_names(root: Path, files: dict[str, ast.Module]) -> list[str]:
    """What the glossary's last column names and the package hasn't: paths, classes, members."""
    text = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    cells = [line.split("|")[3] for line in text.splitlines() if line.count("|") == 4]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    members, others = _names(files)
    paths = {f"/{file}" for file in files} | {f"/{Path(f).parent.as_posix()}/" for f in files}

    def is_there(name: str) -> bool:
        name = name.partition("(")[0].removeprefix("nas.")
        if "/" in name or name.endswith(".py"):
            return any(path.endswith(f"/{name}") for path in paths)
        owner, _, member = name.rpartition(".")
        return member in members.get(owner, ()) if owner else name in others

    return [name for name in names if not is_there(name)]


def _names(files: dict[str, ast.Module]) -> tuple[dict[str, set[str]], set[str]]:
    """Returns the members of classes and of files, and all names that are defined somewhere."""
    members, others = defaultdict[str, set[str]](set), set[str]()
    for file, tree in files.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                members[node.name] |= _defined(node)
                others.add(node.name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                others.add(node.name)
                others |= {arg.arg for arg in ast.walk(node) if isinstance(arg, ast.arg)}
        members[Path(file).stem] |= _defined(tree)
    return members, others.union(*members.values())


def _defined(owner: ast.Module | ast.ClassDef) -> set[str]:
    """Returns the names that a body binds, and what its methods set on `self`."""
    names = set[str]()
    for node in ast.walk(owner):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def main(root: Path) -> None:
    """Prints each, and how many there are."""
    files = trees(root)
    names = list(banned_names(files, banned_words(root)))
    twins = twin_classes(files)
    ticks, lost = list(double_ticks(root)), lost_names(root, files)
    print(*names, *(f"class {name}: {', '.join(at)}" for name, at in twins.items()), sep="\n")
    print(*(f"{place}: double backticks" for place in ticks), sep="\n")
    print(*(f"docs/glossary.md: {name}" for name in lost), sep="\n")
    print(f"{len(names)} banned names, {len(twins)} names of several classes")
    print(f"{len(ticks)} lines with double backticks, {len(lost)} names that aren't there")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
