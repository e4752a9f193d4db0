"""`nas.load`: a reference becomes a trained model, or the genome where nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RunError
from nas.genome import Genome
from nas.runs.reference import parse
from nas.training.model_header import ModelHeader

if TYPE_CHECKING:
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
    return reference.genome() if reference.weights is None else _model(reference.weights)


def load_trained(ref: str | Path, verb: str) -> TrainedModel:
    """Loads a trained model.

    Raises:
        RunError: when the reference has no weights; says how to train it.
    """
    weights, _ = trained(ref, verb)
    return _model(weights)


def trained(ref: str | Path, verb: str) -> tuple[Path, ModelHeader]:
    """Returns the file of a trained model and what it says of itself, without loading torch.

    Args:
        ref: a run or a checkpoint.
        verb: what the model is wanted for, such as "evaluate".

    Raises:
        RunError: when the reference has no weights; says how to train it.
    """
    reference = parse(str(ref))
    if reference.weights is not None:
        return reference.weights, ModelHeader.read(reference.weights)
    reference.genome()  # what is wrong with it comes first
    raise RunError(
        f"{ref}: has no trained weights to {verb}; train it first: nas train --genome {ref}"
    )


def _model(weights: Path) -> TrainedModel:
    """Returns the model of a checkpoint; what isn't one is refused before torch is loaded."""
    ModelHeader.read(weights)
    from nas.training.weights import TrainedModel

    return TrainedModel.load(weights)
