"""Export: a trained model as files for use elsewhere, each run or read back before it counts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import ConfigError, NasError
from nas.genome import Genome

if TYPE_CHECKING:
    from nas.data.coco import Category
    from nas.models import Detector

FORMATS = {"json": "the architecture", "onnx": "the trained model, for onnxruntime and others"}
"""Name of a format and what its file holds."""


def parse_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The names, checked, each once.

    Raises:
        ConfigError: names one that isn't known, and what is.
    """
    for name in names:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FORMATS)}"
            raise ConfigError(f"--format {name!r}: no such format; {hint}")
    if not names:
        raise ConfigError(f"--format: empty; name some of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


def export(
    model: Detector | Genome,
    categories: Sequence[Category],
    path: Path,
    formats: Sequence[str] = ("json", "onnx"),
    images: Sequence[Path] = (),
) -> list[Path]:
    """Writes a model in some formats.

    Args:
        model: a trained detector; an architecture alone will do for ``json``.
        categories: the user's, label k being ``categories[k - 1]``.
        path: of the files, without their ending: ``runs/x/model`` gives ``runs/x/model.onnx``.
        images: pictures on which the ONNX file is held against PyTorch; without any, built-in
            scenes.

    Returns:
        The files written, in the order of ``formats``.

    Raises:
        NasError: one line; what failed its check isn't left behind.
    """
    written = []
    for name in parse_formats(formats):
        target = path.with_name(f"{path.name}.{name}")
        if name == "json":
            from nas.formats import genome_json

            genome = model if isinstance(model, Genome) else model.genome
            written.append(genome_json.write(genome, target))
        else:
            from nas.formats.onnx import export as onnx

            if isinstance(model, Genome):
                raise NasError(f"{target}: an architecture without weights; train it first")
            onnx.write(model, categories, target, images)
            written.append(target)
    return written
