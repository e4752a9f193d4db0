"""`nas export`: writes a trained model for use elsewhere, each file checked by running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.config.run_data import kept_data
from nas.data.coco import load_split
from nas.formats import export as write_formats
from nas.formats import parse_formats
from nas.genome import Genome
from nas.jobs.load import load
from nas.runs.outputs import check_folder
from nas.runs.reference import parse
from nas.ui.console import console, show_warnings

if TYPE_CHECKING:
    from nas.training.weights import TrainedModel


def export(
    ref: str | Path | TrainedModel | Genome,
    formats: Sequence[str] = ("json", "onnx"),
    *,
    out: Path | None = None,
    data: Path | None = None,
) -> list[Path]:
    """Writes a model in some formats.

    Args:
        ref: a run, a checkpoint, a trained model; for `json` alone any architecture.
        formats: names of `nas.formats.FORMATS`: `json` (the architecture), `onnx` (the trained
            model), and what other packages add.
        out: folder for the files; beside the model by default.
        data: a COCO folder whose `val` pictures the ONNX file is run on before this returns; by
            default the one that the run was trained on, else built-in scenes.

    Returns:
        The files written.

    Raises:
        NasError: nothing is trained, no picture can be decoded, or a file doesn't agree with
            PyTorch.
    """
    show_warnings()
    names = parse_formats(formats)
    folder = _folder(ref, out)
    check_folder(folder, "--out", *(f"model.{name}" for name in names))
    if isinstance(ref, str | Path):
        parse(str(ref))  # a name that is none is refused before data are read
    data = data or kept_data(ref)[0]
    images = []
    if data is not None:
        images = [image.path for image in load_split(data, "val", boxes=False).images]
    model = load(ref) if isinstance(ref, str | Path) else ref
    stem = folder / "model"
    with console.status("writing, and running what was written"):
        if isinstance(model, Genome):
            return write_formats(model, (), stem, names, images)
        return write_formats(model.detector, model.categories, stem, names, images)


def _folder(ref: object, out: Path | None) -> Path:
    if out is not None:
        return out
    path = Path(str(ref)) if isinstance(ref, str | Path) else Path()
    return path if path.is_dir() else path.parent
