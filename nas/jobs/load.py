"""`nas.load`: a reference becomes a trained model, or the genome where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RunError
from nas.genome import Genome
from nas.runs.reference import parse
from nas.training.model_header import ModelHeader

if TYPE_CHECKING:
    from nas.training.weights import TrainedModel


@dataclass(frozen=True)
class ModelFile:
    """A file with a trained model, of which the header is read and the weights aren't.

    Attributes:
        path: of the file.
        header: what it says of itself.
    """

    path: Path
    header: ModelHeader

    @classmethod
    def open(cls, path: Path) -> ModelFile:
        """Reads the header, without loading torch.

        Raises:
            RunError: what isn't a trained model is refused here.
        """
        return cls(path, ModelHeader.read(path))

    def model(self) -> TrainedModel:
        """Returns the model; loads torch.

        Raises:
            RunError: the weights are damaged, or don't fit the genome.
        """
        from nas.training.weights import TrainedModel

        return TrainedModel.load(self.path, self.header)


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
    weights = reference.weights
    return reference.genome() if weights is None else ModelFile.open(weights).model()


def load_trained(ref: str | Path, verb: str) -> TrainedModel:
    """Loads a trained model.

    Raises:
        RunError: when the reference has no weights; says how to train it.
    """
    return model_file(ref, verb).model()


def model_file(ref: str | Path, verb: str) -> ModelFile:
    """Returns the file of a trained model, without loading torch.

    Args:
        ref: a run or a checkpoint.
        verb: what the model is wanted for, such as "evaluate".

    Raises:
        RunError: when the reference has no weights; says how to train it.
    """
    reference = parse(str(ref))
    if reference.weights is not None:
        return ModelFile.open(reference.weights)
    reference.genome()  # what is wrong with it comes first
    raise RunError(
        f"{ref}: has no trained weights to {verb}; train it first: nas train --genome {ref}"
    )
