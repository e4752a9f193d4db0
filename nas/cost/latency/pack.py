"""A pack: a folder with the samples as ONNX files, what each is made of, and the runner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.cost.latency import runner
from nas.cost.latency.onnx_writer import to_onnx
from nas.cost.latency.sampling import NetworkSample

RUNNER, LISTING, MODELS = "runner.py", "pack.json", "models"


def write_pack(
    samples: Sequence[NetworkSample],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes a pack into a folder, which is made where there is none.

    Args:
        samples: what to time.
        folder: new, or empty.
        progress: called as `progress(done, total)`.
    """
    models = folder / MODELS
    models.mkdir(parents=True, exist_ok=True)
    listed = []
    for done, sample in enumerate(samples, start=1):
        (models / f"{sample.name}.onnx").write_bytes(to_onnx(sample.tape).SerializeToString())
        operators = {operator.text: count for operator, count in sample.operators.items()}
        listed.append({"name": sample.name, "whole": sample.whole, "operators": operators})
        progress(done, len(samples))
    listing = {"version": runner.VERSION, "pieces": listed}
    (folder / LISTING).write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(runner.__file__, folder / RUNNER)
