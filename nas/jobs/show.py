"""`nas show`: an architecture as a picture."""

from __future__ import annotations

from pathlib import Path

from nas.errors import RunError
from nas.genome import Genome
from nas.report.drawing import draw as drawing
from nas.runs.outputs import check_folder
from nas.runs.reference import parse


def show(ref: str, other: str | None = None, *, out: Path | None = None) -> list[Path]:
    """Draws an architecture, or two in one picture, as SVG and PNG; returns the files."""
    genomes = [_named(text) for text in (ref, other) if text is not None]
    folder = out or Path()
    stem = "-vs-".join(_file_name(text) for text in (ref, other) if text is not None)
    check_folder(folder, "--out", f"{stem}.svg", f"{stem}.png")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return list(drawing.write(folder / stem, *genomes))
    except OSError as error:
        raise RunError(
            f"{folder}: can't be written ({error.strerror}); name another --out"
        ) from None


def _named(ref: str) -> Genome:
    genome = parse(ref).genome()
    return genome if genome.name else genome.replace(name=ref)


def _file_name(ref: str) -> str:
    return Path(ref).stem.replace(":", "-") or "genome"
