"""ONNX as a line of the table of formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nas.genome import Genome

if TYPE_CHECKING:
    from nas.data.coco import Category
    from nas.formats.onnx.verify import Agreement
    from nas.models import Detector


class ONNX:
    """The trained model, for onnxruntime and others; torch is loaded once one is written."""

    needs_weights: ClassVar[bool] = True

    def write(
        self,
        model: Detector | Genome,
        categories: Sequence[Category],
        path: Path,
        images: Sequence[Path],
    ) -> Agreement:
        """Writes a detector, as `nas.formats.onnx.export.write` does."""
        from nas.formats.onnx.export import write

        assert not isinstance(model, Genome)  # needs_weights
        return write(model, categories, path, images)
