"""`nas eval`: COCO's numbers of a trained model on `val`."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config.run_data import kept_data
from nas.data.coco import load_split
from nas.data.rules import lacking_to_judge, refuse
from nas.data.settings import DataSettings
from nas.errors import RunError, amount
from nas.evaluation.ap import RECALLS
from nas.evaluation.metrics import Metrics
from nas.files import write_text
from nas.jobs.load import model_file
from nas.runs.folder import Run
from nas.runs.outputs import check_folder
from nas.ui.console import console, counted, show_warnings
from nas.ui.data_loading import data_folder, pixels
from nas.ui.metric_tables import classes_table, numbers_table

if TYPE_CHECKING:
    from nas.evaluation.precision_recall import Curves
    from nas.training.weights import TrainedModel


def evaluate(
    ref: str | Path | TrainedModel,
    data: Path | None = None,
    settings: DataSettings | None = None,
    *,
    out: Path | None = None,
) -> Metrics:
    """Judges a trained model on the validation images, and prints the numbers.

    Args:
        ref: a run, a checkpoint, or a trained model.
        data: a COCO folder; None takes what the run was trained on: its folder, or the built-in
            scenes.
        settings: of the cache and the scenes; None takes the run's.
        out: folder for all numbers (`metrics.json`, `classes.csv`) and the precision–recall
            curves (`precision_recall.csv` and `.png`); None writes nothing.

    Raises:
        NasError: nothing is trained or its weights aren't finite, the folder is gone, its
            categories aren't the model's, no box is left to judge by, or the files can't be
            written.
    """
    show_warnings()
    if out is not None:
        _check_out(out)
    kept, kept_settings = kept_data(ref, needed=data is None)
    data, settings = data or kept, settings or kept_settings
    read: Callable[[], TrainedModel]
    if isinstance(ref, str | Path):
        file = model_file(ref, "evaluate")
        name, categories, read = str(ref), file.header.categories, file.model
    else:
        name, categories, read = f"{ref.genome.name}", ref.categories, lambda: ref
    val = load_split(data_folder(data, settings), "val", categories=categories)
    # From here on torch is loaded, which takes seconds: what can be refused has been.
    from nas.evaluation.coco import evaluate as coco_numbers
    from nas.evaluation.precision_recall import precision_recall
    from nas.evaluation.predict import predict_split

    model = read()
    _refuse_not_finite(model, name)
    source = model.genome.input
    cache = pixels(val, source.size, source.resize, settings)
    judged = cache.decodable(val)
    refuse(lacking_to_judge(judged))
    with counted("detecting") as step:
        step(0, len(judged))
        detections = predict_split(model.detector, cache, val)
    metrics = coco_numbers(judged, detections)
    console.print(
        numbers_table(metrics, f"{name} on {val.json_path}, {amount(len(judged), 'image')}")
    )
    console.print(classes_table(metrics))
    if out is not None:
        for path in _written(out, metrics, precision_recall(judged, detections)):
            console.print(str(path))
    return metrics


def _refuse_not_finite(model: TrainedModel, name: str) -> None:
    """Refuses weights with NaN: such a model detects nothing, and an AP of 0 would hide why."""
    import torch

    for weight, tensor in model.detector.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise RunError(
                f"{name}: {weight} holds numbers that aren't finite, so it can't detect; train "
                "again with a lower learning rate (--set recipe.lr)"
            )


def _check_out(folder: Path) -> None:
    check_folder(folder, "--out", "metrics.json", "classes.csv", "precision_recall.csv")
    if Run(folder).exists():
        raise RunError(
            f"{folder}: is a run, with numbers of its own; name a folder within, such as --out "
            f"{shlex.quote(str(folder / 'eval'))}"
        )


def _written(folder: Path, metrics: Metrics, curves: Curves) -> list[Path]:
    classes = [
        (name, own.boxes, *map(_cell, (own.ap, own.ap50)))
        for name, own in metrics.per_class.items()
    ]
    columns = {f"mean at IoU {iou:.2f}": precision for iou, precision in curves.means.items()}
    columns |= {f"{name} at IoU 0.50": own for name, own in curves.per_class.items()}
    points = [
        (f"{recall:.2f}", *map(_cell, row))
        for recall, *row in zip(RECALLS, *columns.values(), strict=True)
    ]
    texts = {
        "metrics.json": json.dumps(metrics.to_dict(), indent=1) + "\n",
        "classes.csv": _csv([("class", "boxes", "ap", "ap50"), *classes]),
        "precision_recall.csv": _csv([("recall", *columns), *points]),
    }
    from nas.report.precision_recall import precision_recall_png

    picture = folder / "precision_recall.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            write_text(folder / file, text)
        picture.write_bytes(precision_recall_png(curves))
    except OSError as error:
        raise RunError(
            f"{folder}: can't be written ({error.strerror}); name another --out"
        ) from None
    return [*(folder / file for file in texts), picture]


def _cell(value: float) -> Any:
    """Returns what stands in a cell: nothing for NaN."""
    return "" if math.isnan(value) else round(float(value), 6)


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
