"""Counts where code asks what type a genome's part is, outside the part's own files.

    python -m tests.house.part_questions [ROOT]

There were 95 while seven rooms described each part, and are 8 since a part describes itself.

A question is, in nas/, proxies/ and search_spaces/ but for nas/genome/parts and each part's module:
`isinstance` with a part's class, `type(x)` compared, a class of a part in `match`,
`singledispatch`, and a comparison with a part's `type` or with the name of a type.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOMS = ("nas", "proxies", "search_spaces")
OWN = ("nas/genome/parts", "nas/models/blocks", "nas/models/edges", "nas/models/necks")
OWN_HEADS = "nas/models/heads"
COLLECTING = "__init__.py"


class Question(NamedTuple):
    """One place that asks."""

    file: str
    line: int
    text: str


def questions(root: Path) -> list[Question]:
    """All questions in a checkout, by file and line."""
    trees = {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for room in ROOMS
        for path in sorted((root / room).rglob("*.py"))
    }
    parts = _parts(trees)
    types = {name for kinds in parts.values() for name in kinds}
    found = []
    for file, tree in trees.items():
        if not _is_own(file):
            for node in _asking(tree, set(parts), types):
                found.append(Question(file, node.lineno, ast.unparse(node)))
    return sorted(set(found))


def _is_own(file: str) -> bool:
    """Whether it is a part's own file: its description, or its module in `nas.models`."""
    folder, _, name = file.rpartition("/")
    own = folder.startswith((*OWN, OWN_HEADS)) and name not in (COLLECTING, "base.py")
    return own or folder == "nas/genome/parts"


def _parts(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Classes that derive from Part, each with the names that its `type` may have."""
    bases: dict[str, tuple[set[str], set[str]]] = {}
    for file, tree in trees.items():
        if file.startswith("nas/genome/"):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    above = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    bases[node.name] = above, _types(node)
    parts, before = {"Part"}, set[str]()
    while parts != before:
        before = set(parts)
        parts |= {name for name, (above, _) in bases.items() if above & parts}
    plain = {"Part", "Genome", "Block", "Edge", "Tap", "Input", "BatchNorm", "Scale", "Truncation"}
    return {name: bases[name][1] for name in parts - plain if name in bases}


def _types(node: ast.ClassDef) -> set[str]:
    """The default of a class's field `type`."""
    return {
        statement.value.value
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.target.id == "type"
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    }


def _asking(tree: ast.AST, parts: set[str], types: set[str]) -> Iterator[ast.expr | ast.pattern]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
                if _names(kinds) & parts:
                    yield node
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
                by_class = any(_is_type_of(side) for side in sides) and _names(node) & parts
                if by_class or _compares_type(sides, types):
                    yield node
            case ast.Subscript(slice=ast.Call(func=ast.Name(id="type"))):
                yield node
            case ast.MatchClass(cls=cls):
                if _names(cls) & parts:
                    yield node
            case ast.Name(id="singledispatch") | ast.Attribute(attr="singledispatch"):
                yield node


def _names(node: ast.AST) -> set[str]:
    """Names and attributes within an expression."""
    return {
        inner.id if isinstance(inner, ast.Name) else inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name | ast.Attribute)
    }


def _is_type_of(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _names(node.func) == {"type"}


def _compares_type(sides: list[ast.expr], types: set[str]) -> bool:
    """Whether `x.type` is compared with another thing than a device's, or a type's name is."""
    attributes = [side for side in sides if isinstance(side, ast.Attribute) and side.attr == "type"]
    texts = {
        inner.value
        for side in sides
        for inner in ast.walk(side)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }
    if attributes:
        return not texts or bool(texts & types)
    return bool(texts & {name for name in types if "_" in name or name == "tucker"})


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    asked = questions(root)
    for question in asked:
        print(f"{question.file}:{question.line}: {question.text}")
    print(f"{len(asked)} questions")
