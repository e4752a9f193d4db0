"""`nas eval`: COCO's numbers of a trained model on `val`."""

from __future__ import annotations

from pathlib import Path

from nas.data.coco import load_split
from nas.data.settings import DataSettings
from nas.errors import DataError
from nas.evaluation.coco import evaluate as coco_numbers
from nas.evaluation.metrics import Metrics
from nas.evaluation.predict import predict_split
from nas.jobs.folders import data_folder, pixels
from nas.jobs.kept import kept_data
from nas.jobs.load import load_trained
from nas.jobs.numbers import numbers_table
from nas.jobs.screen import console, counted, show_warnings
from nas.training.weights import TrainedModel


def evaluate(
    ref: str | Path | TrainedModel,
    data: Path | None = None,
    settings: DataSettings | None = None,
) -> Metrics:
    """Judges a trained model on the validation images, and prints the numbers.

    Args:
        ref: a run, a checkpoint, or a trained model.
        data: a COCO folder; None takes what the run was trained on: its folder, or the built-in
            scenes.
        settings: of the cache and the scenes; None takes the run's.

    Raises:
        NasError: nothing is trained, the folder is gone, or its categories aren't the model's.
    """
    show_warnings()
    kept, kept_settings = kept_data(ref, needed=data is None)
    data, settings = data or kept, settings or kept_settings
    trained = ref if isinstance(ref, TrainedModel) else load_trained(ref, "evaluate")
    val = load_split(data_folder(data, settings), "val", categories=trained.categories)
    if val.categories != trained.categories:
        raise DataError(f"{val.json_path}: its categories aren't those the model was trained on")
    source = trained.genome.input
    cache = pixels(val, source.size, source.resize, settings)
    with counted("detecting") as step:
        step(0, len(val))
        found = predict_split(trained.detector, cache, val)
    metrics = coco_numbers(val, found)
    name = ref if not isinstance(ref, TrainedModel) else trained.genome.name
    console.print(numbers_table(metrics, f"{name} on {val.json_path}, {len(val)} images"))
    return metrics
