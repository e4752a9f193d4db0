"""The architecture alone, as JSON that ``Genome.from_file`` and every command reads."""

from __future__ import annotations

from pathlib import Path

from nas.errors import NasError
from nas.formats.writing import checked_file
from nas.genome import Genome


def write(genome: Genome, path: Path) -> Path:
    """Writes a genome and reads it back.

    Raises:
        NasError: the file can't be written, or doesn't give back the same genome.
    """
    with checked_file(path) as new:
        new.write_text(genome.to_json(indent=1) + "\n", encoding="utf-8")
        if Genome.from_file(new) != genome:
            raise NasError(f"{path}: the file doesn't give back the genome; nothing was written")
    return path
