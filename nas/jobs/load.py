"""`nas.load`: a reference becomes a trained model, or the genome where nothing is trained."""

from __future__ import annotations

from pathlib import Path

from nas.errors import RunError
from nas.genome import Genome
from nas.runs.reference import parse
from nas.training.weights import TrainedModel


def load(ref: str | Path) -> TrainedModel | Genome:
    """Loads what a reference names.

    Args:
        ref: a zoo name, a genome's JSON, `RUN`, `RUN:17`, or a checkpoint.

    Returns:
        The trained model of a finished training or of a checkpoint; else the genome.

    Raises:
        NasError: in one line that names the reference and the remedy.
    """
    reference = parse(str(ref))
    if reference.weights is not None:
        return TrainedModel.load(reference.weights)
    return reference.genome()


def load_trained(ref: str | Path, verb: str) -> TrainedModel:
    """Loads a trained model.

    Raises:
        RunError: when the reference has no weights; says how to train it.
    """
    loaded = load(ref)
    if isinstance(loaded, TrainedModel):
        return loaded
    raise RunError(
        f"{ref}: has no trained weights to {verb}; train it first: nas train --genome {ref}"
    )
