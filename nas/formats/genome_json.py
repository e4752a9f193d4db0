"""The architecture alone, as JSON that `Genome.from_file` and every command reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nas.errors import NasError
from nas.formats.writing import checked_file
from nas.genome import Genome

if TYPE_CHECKING:
    from nas.data.coco import Category
    from nas.models import Detector


class GenomeJSON:
    """The genome's JSON."""

    needs_weights: ClassVar[bool] = False

    def write(
        self,
        model: Detector | Genome,
        categories: Sequence[Category],
        path: Path,
        images: Sequence[Path],
    ) -> None:
        """Writes a genome and reads it back.

        Raises:
            NasError: the file can't be written, or doesn't give back the same genome.
        """
        genome = model if isinstance(model, Genome) else model.genome
        with checked_file(path) as new:
            new.write_text(genome.to_json(indent=1) + "\n", encoding="utf-8")
            if Genome.from_file(new) != genome:
                raise NasError(
                    f"{path}: the file doesn't give back the genome; nothing was written"
                )
