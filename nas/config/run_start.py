"""What a training begins with: its network, and the weights of it. No torch."""

from __future__ import annotations

from collections.abc import Callable

from nas.config.schema import TrainConfig
from nas.genome import Genome
from nas.models.pretrained.initial import InitialWeights, kept_start, resolve
from nas.runs.folder import Run
from nas.runs.reference import parse


def trained_genome(config: TrainConfig) -> Genome:
    """Returns the genome that a config trains: scaled, with the recipe's activation."""
    genome = parse(config.genome).genome().scaled(**config.scale.model_dump())
    activation = config.recipe.activation
    return genome.with_activation(activation) if activation else genome


def initial_weights(
    config: TrainConfig, genome: Genome, run: Run, tell: Callable[[str], None]
) -> InitialWeights | None:
    """Returns what a training starts from, or has started from where it has begun.

    Args:
        config: all settings.
        genome: what is trained.
        run: begun or not.
        tell: shows a line.

    Raises:
        RunError: the weights aren't here, or not those that they should be.
    """
    init, weights = kept_start(run.start)
    if not run.begun or init not in (None, config.init):
        weights = resolve(config.init, [genome], tell).of(genome)
    tell(f"the training starts from {weights or 'scratch'}")
    return weights
