"""What a trained model's file says of itself, read without torch and without its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nas.data.coco import Category
from nas.errors import RunError
from nas.files import MODEL_VERSION, read_header
from nas.genome import Genome


@dataclass(frozen=True)
class ModelHeader:
    """The header of a trained model.

    Attributes:
        genome: The architecture.
        categories: The user's, label k being `categories[k - 1]`.
        record: How it was made: recipe, seed, data, numbers on `val`.
    """

    genome: Genome
    categories: tuple[Category, ...]
    record: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the header of a file.

        Raises:
            RunError: No such file, damaged, of another version, or without a genome.
        """
        try:
            header = read_header(path)
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: can't be read as a checkpoint ({error})") from None
        whole = isinstance(header, dict) and {"genome", "categories"} <= header.keys()
        if not whole or header.get("version") != MODEL_VERSION:
            raise RunError(
                f"{path}: not a trained model of version {MODEL_VERSION}; give the "
                "model.safetensors that nas train has written at its end"
            )
        genome = Genome.from_json(json.dumps(header["genome"]), source=str(path))
        return cls(genome, _categories(header["categories"], path), header.get("record", {}))

    def to_json(self) -> dict[str, Any]:
        """Returns what `read` takes, for JSON."""
        return {
            "version": MODEL_VERSION,
            "genome": self.genome.model_dump(mode="json"),
            "categories": [{"id": c.id, "name": c.name} for c in self.categories],
            "record": dict(self.record),
        }


def _categories(rows: Sequence[Any], path: Path) -> tuple[Category, ...]:
    try:
        return tuple(Category(int(row["id"]), str(row["name"])) for row in rows)
    except (TypeError, KeyError, ValueError):
        raise RunError(f"{path}: its categories are damaged") from None
