"""Trained models as files: weights in safetensors, everything else as JSON in its header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.data.coco import Category
from nas.errors import RunError
from nas.files import replacing
from nas.genome import Genome
from nas.models.detector import Detector, build
from nas.models.tensor_file import read_tensors, write_tensors
from nas.training.model_header import ModelHeader


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
        header = ModelHeader(self.genome, self.categories, self.record)
        try:
            with replacing(path) as new:
                write_tensors(new, self.detector.state_dict(), header.to_json())
        except OSError as error:
            raise RunError(
                f"{path}: the model can't be written ({error.strerror}); free some space"
            ) from None

    @classmethod
    def load(cls, path: Path, header: ModelHeader | None = None) -> TrainedModel:
        """Reads what `save` wrote.

        Args:
            path: of the file.
            header: its header, where that has been read already.

        Raises:
            RunError: no such file, damaged, of another version, or without a matching genome.
        """
        header = header or ModelHeader.read(path)
        tensors, _ = read_tensors(path)
        detector = build(header.genome, num_classes=1 + len(header.categories))
        try:
            detector.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise RunError(f"{path}: weights don't fit the genome ({reason})") from None
        return cls(detector.eval(), header.categories, header.record)
