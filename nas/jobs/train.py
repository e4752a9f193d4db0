"""`nas train`: trains one architecture on all of `train`, and judges it once on `val`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.config.schema import TrainConfig
from nas.data.rules import lacking_to_train, refuse
from nas.genome import Genome
from nas.models.pretrained.initial import InitialWeights, kept_start, resolve
from nas.runs.folder import Run
from nas.runs.outputs import check_run
from nas.runs.reference import parse
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
    weights = _initial_weights(config, genome, Run(folder))
    # From here on torch is loaded, which takes seconds: what can be refused has been.
    from nas.jobs.final_training import dry_run_of, train_and_judge

    if dry_run:
        dry_run_of(config, genome, split, val, folder, weights)
        return None
    return train_and_judge(config, genome, split, val, folder, weights)


def trained_genome(config: TrainConfig) -> Genome:
    """Returns the genome that a config trains: scaled, with the recipe's activation."""
    genome = parse(config.genome).genome().scaled(**config.scale.model_dump())
    activation = config.recipe.activation
    return genome.with_activation(activation) if activation else genome


def _initial_weights(config: TrainConfig, genome: Genome, run: Run) -> InitialWeights | None:
    """Returns what the training starts from, or has started from where it has begun.

    Raises:
        RunError: the weights aren't here, or not those that they should be.
    """
    init, weights = kept_start(run.start)
    if not run.begun or init not in (None, config.init):
        weights = resolve(config.init, [genome], console.print).of(genome)
    console.print(f"the training starts from {weights or 'scratch'}")
    return weights
