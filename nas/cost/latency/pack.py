"""A pack: a folder with the pieces as ONNX files, what each is made of, and the runner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.cost.latency import runner
from nas.cost.latency.onnx_writer import to_onnx
from nas.cost.latency.sampling import Sample

RUNNER, LISTING, MODELS = "runner.py", "pack.json", "models"


def write_pack(
    pieces: Sequence[Sample],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes a pack into a folder, which is made where there is none.

    Args:
        pieces: what to time.
        folder: new, or empty.
        progress: called as ``progress(done, total)``.
    """
    models = folder / MODELS
    models.mkdir(parents=True, exist_ok=True)
    listed = []
    for done, piece in enumerate(pieces, start=1):
        (models / f"{piece.name}.onnx").write_bytes(to_onnx(piece.tape).SerializeToString())
        operators = {operator.text: count for operator, count in piece.operators.items()}
        listed.append({"name": piece.name, "whole": piece.whole, "operators": operators})
        progress(done, len(pieces))
    listing = {"version": runner.VERSION, "pieces": listed}
    (folder / LISTING).write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(runner.__file__, folder / RUNNER)
