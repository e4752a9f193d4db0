"""`nas report`: the page of a search."""

from __future__ import annotations

from pathlib import Path

from nas.report import page
from nas.runs.folder import Run
from nas.runs.outputs import check_folder


def report(run: Path, *, out: Path | None = None) -> list[Path]:
    """Writes the page of a search, one file that needs nothing else; returns its path."""
    check_folder(out or Run.open(run).report, "--out", "index.html")
    return [page.write_page(run, out)]
