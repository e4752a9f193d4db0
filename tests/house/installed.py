"""Another package, as an installer leaves it: modules, and lines that it declares for tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, package: str, modules: Mapping[str, str], lines: str) -> None:
    """Writes a package and what an installer notes of it.

    Args:
        folder: to stand in PYTHONPATH.
        package: its name.
        modules: text by module.
        lines: entry points, as `entry_points.txt` has them.
    """
    for name, text in {"__init__": "", **modules}.items():
        path = folder / package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    notes = folder / f"{package}-1.0.dist-info"
    notes.mkdir(exist_ok=True)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (notes / "entry_points.txt").write_text(lines, encoding="utf-8")
