"""`nas train`: trains one architecture on all of `train`, and judges it once on `val`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.config.run_start import initial_weights, trained_genome
from nas.config.schema import TrainConfig
from nas.data.rules import lacking_to_train, refuse
from nas.runs.folder import Run
from nas.runs.outputs import check_run
from nas.training.requirements import check_workers, least_images
from nas.ui.console import console, show_warnings
from nas.ui.data_loading import data_folder, load_both

if TYPE_CHECKING:
    from nas.training.weights import TrainedModel


def train(config: TrainConfig, folder: Path, *, dry_run: bool = False) -> TrainedModel | None:
    """Trains, or goes on with a training that was stopped, and writes `model.safetensors`.

    The model keeps its last (or averaged) weights: `val` is read once, at the end.

    Args:
        config: all settings.
        folder: of the run; typed again, it goes on after the last finished epoch.
        dry_run: shows the plan, tries one micro-batch, says what all would take; writes nothing.

    Raises:
        NasError: one line that names the setting to change.
    """
    show_warnings()
    check_run(folder)
    check_workers(config.recipe, config.compute.workers)
    genome = trained_genome(config)
    split, val = load_both(data_folder(config.data_dir, config.data))
    recipe = config.recipe
    refuse(lacking_to_train(split, empty_images=recipe.empty_images, least=least_images(recipe)))
    weights = initial_weights(config, genome, Run(folder), console.print)
    # From here on torch is loaded, which takes seconds: what can be refused has been.
    from nas.jobs.final_training import train_and_judge

    return train_and_judge(config, genome, split, val, weights, folder, dry_run=dry_run)
