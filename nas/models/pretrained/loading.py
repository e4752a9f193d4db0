"""A model before its first step: drawn from a seed, then filled from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from nas.errors import RunError
from nas.genome import Genome
from nas.models.detector import Detector, build
from nas.models.pretrained import SOURCES
from nas.models.pretrained.assignment import Assignment, LoadedWeights
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.initial import InitialWeights, Starts
from nas.models.pretrained.state_dicts import read_state_dict

Model = TypeVar("Model", bound=nn.Module)

CHECKED = 8
"""Networks of a space, at most, that a file is tried on before the first trial."""


def first_model(
    make: Callable[[], Model], seed: int, weights: InitialWeights | None
) -> tuple[Model, LoadedWeights | None]:
    """Returns a model before its first step, for a trial as for the final training.

    Everything is drawn first, in the order in which the genome's units are built, by torch's
    generator, which is set to `seed` here; then the file's numbers take the place of what they
    fit. So the seed, the genome that is built and the number of classes decide the fresh parts,
    whatever the file: a trial and a training that share them start from the same bits.

    Args:
        make: builds the model; what it draws comes from torch's generator on the CPU.
        seed: of all that is drawn.
        weights: the file; None keeps the draws.

    Returns:
        The model, and what it has got from the file.

    Raises:
        RunError: the file can't be read, isn't known, or doesn't fit.
    """
    torch.manual_seed(seed)
    model = make()
    if weights is None:
        return model, None
    if not isinstance(model, Detector):
        raise RunError(f"{weights}: what is trained isn't built by nas.build; take --init none")
    return model, start_from(model, weights.path)


def check_fits(starts: Starts, genomes: Iterable[Genome], num_classes: int) -> None:
    """Refuses weights that a space's networks can't start from; nothing is computed.

    Published weights are tried on one network of each name, for they were chosen by it; a file on
    several.

    Args:
        starts: of these networks.
        genomes: as they are trained.
        num_classes: background counts.

    Raises:
        RunError: as `start_from`.
    """
    tried: set[str] = set()
    for genome in genomes:
        weights = starts.of(genome)
        network = genome.key if starts.all else str(weights)
        if weights is None or network in tried:
            continue
        if len(tried) == CHECKED:
            return
        tried.add(network)
        with torch.device("meta"):  # shapes without numbers
            model = build(genome, num_classes)
        start_from(model, weights.path)


def start_from(model: Detector, path: Path) -> LoadedWeights:
    """Fills a new detector from a file; what isn't in the file keeps its first draw.

    The adapters of `SOURCES` are asked in the table's order; the first that recognises the file
    lays its layers onto the model.

    Args:
        model: as `build` made it.
        path: a `.safetensors`, `.pth` or `.pt` file.

    Raises:
        RunError: the file can't be read, isn't known, or doesn't fit; the model is as it was.
    """
    if path.is_dir():
        raise RunError(f"{path}: is a folder; name a file in it, such as model.safetensors")
    file = read_state_dict(path)
    sources: list[WeightSource] = [SOURCES.load(name)() for name in SOURCES.complete()]
    for source in sources:
        if source.recognises(file):
            assignment = Assignment(model, path)
            note = source.assign(file, assignment)
            return assignment.load(source.describe(file), note)
    first = ascii(min(file.tensors).rpartition(".")[0])[1:-1]
    legal = "; ".join(source.accepts for source in sources)
    raise RunError(f"{path}: unknown layout (it has {first!r}); legal: {legal}")
