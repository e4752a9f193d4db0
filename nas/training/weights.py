"""Trained models as files: weights in safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.data.coco import Category
from nas.errors import RunError
from nas.files import replacing
from nas.genome import Genome
from nas.models.detector import Detector, build
from nas.models.tensor_file import MODEL_VERSION, read_tensors, write_tensors


@dataclass(frozen=True)
class TrainedModel:
    """A detector with what is needed to use it.

    Attributes:
        detector: in evaluation mode; it knows its input size, resize rule and normalisation.
        categories: the user's, label k being `categories[k - 1]`.
        record: how it was made: recipe, seed, data, numbers on `val`.
    """

    detector: Detector
    categories: tuple[Category, ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def genome(self) -> Genome:
        """The architecture, from the detector."""
        return self.detector.genome

    def save(self, path: Path) -> None:
        """Writes the file under a temporary name and renames it."""
        header = {
            "version": MODEL_VERSION,
            "genome": self.genome.model_dump(mode="json"),
            "categories": [{"id": c.id, "name": c.name} for c in self.categories],
            "record": dict(self.record),
        }
        try:
            with replacing(path) as new:
                write_tensors(new, self.detector.state_dict(), header)
        except OSError as error:
            raise RunError(
                f"{path}: the model can't be written ({error.strerror}); free some space"
            ) from None

    @classmethod
    def load(cls, path: Path) -> TrainedModel:
        """Reads what `save` wrote.

        Raises:
            RunError: no such file, damaged, of another version, or without a matching genome.
        """
        tensors, header = read_tensors(path)
        whole = isinstance(header, dict) and {"genome", "categories"} <= header.keys()
        if not whole or header.get("version") != MODEL_VERSION:
            raise RunError(
                f"{path}: not a trained model of version {MODEL_VERSION}; give the "
                "model.safetensors that nas train has written at its end"
            )
        genome = Genome.from_json(json.dumps(header["genome"]), source=str(path))
        categories = _categories(header["categories"], path)
        detector = build(genome, num_classes=1 + len(categories))
        try:
            detector.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise RunError(f"{path}: weights don't fit the genome ({reason})") from None
        return cls(detector.eval(), categories, header.get("record", {}))


def _categories(rows: Sequence[Any], path: Path) -> tuple[Category, ...]:
    try:
        return tuple(Category(int(row["id"]), str(row["name"])) for row in rows)
    except (TypeError, KeyError, ValueError):
        raise RunError(f"{path}: its categories are damaged") from None
