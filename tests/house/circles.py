"""Finds imports within functions that are there because two modules need each other.

python -m tests.house.circles [ROOT]

Such an import of a module N, in a function of a module M, stands there because of a circle if N
reaches M by imports at the head of modules: at the head of M it would fail. One that is late for
another reason, such as torch, isn't meant.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOMS = ("nas", "proxies", "search_spaces")


class Import(NamedTuple):
    """An import of one of the house's modules.

    Attributes:
        line: where it stands.
        module: what is imported.
        late: whether it stands in a function.
    """

    line: int
    module: str
    late: bool


def circular(root: Path) -> list[str]:
    """Returns late imports that are there because of a circle, as `file:line: M needs N`."""
    modules = {
        _module(path.relative_to(root)): path
        for room in ROOMS
        for path in sorted((root / room).rglob("*.py"))
    }
    imports = {module: list(_imports(module, path, modules)) for module, path in modules.items()}
    heads = {
        module: {needed.module for needed in needs if not needed.late} - {module}
        for module, needs in imports.items()
    }
    return [
        f"{modules[module].relative_to(root)}:{needed.line}: {module} needs {needed.module}"
        for module, needs in imports.items()
        for needed in sorted(needs)
        if needed.late and module in _reached(needed.module, heads)
    ]


def _module(path: Path) -> str:
    """Returns a file's name as a module; a package's is its folder's."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(module: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """Yields a file's imports of the house's modules, but for those of type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, late = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += [(child, late) for child in node.orelse]
            continue
        for name in _named(node, module, path.name == "__init__.py"):
            # An import of a.b.c runs a and a.b before it.
            for end in range(1, 2 + name.count(".")):
                part = ".".join(name.split(".")[:end])
                if part in modules and not f"{module}.".startswith(f"{part}."):
                    yield Import(node.lineno, part, late)  # type: ignore[attr-defined]
        inner = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += [(child, inner) for child in ast.iter_child_nodes(node)]


def _named(node: ast.AST, module: str, is_package: bool) -> list[str]:
    """Returns what an import statement names, as if each name were a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = module.split(".")[: len(module.split(".")) - node.level + is_package]
        base = ".".join([*above, base] if base else above)
    return [f"{base}.{alias.name}" for alias in node.names]


def _reached(start: str, heads: dict[str, set[str]]) -> set[str]:
    """Returns the modules that importing one imports, itself among them."""
    reached, pending = {start}, [start]
    while pending:
        for module in heads[pending.pop()] - reached:
            reached.add(module)
            pending.append(module)
    return reached


if __name__ == "__main__":
    places = circular(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
    print(*places, f"{len(places)} imports because of a circle", sep="\n")
