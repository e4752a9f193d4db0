"""Regularised evolution: the oldest dies, the best of a sample has a mutated child.

Real et al., arXiv 1802.01548, algorithm 1. A population of one has nobody to outlive, so there the
better of parent and child stays: a local search.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import ClassVar

from pydantic import PositiveInt

from nas.controllers.base import Controller, Stop
from nas.settings import Settings
from nas.space import Code, Space


class EvolutionSettings(Settings):
    """Hyper-parameters, each with its symbol.

    The paper takes P = 100, S = 25 for 20,000 trials; these are for budgets of 50 to 500.

    Attributes:
        population: P, how many of the last results may become parents.
        sample: S, how many of them compete to be the next one.
    """

    population: PositiveInt = 20
    sample: PositiveInt = 5


class Evolution(Controller):
    """Learns from every result, its own and others'; infeasible candidates have no children."""

    settings_type: ClassVar[type[Settings]] = EvolutionSettings
    settings: EvolutionSettings

    def __init__(self, space: Space, seed: int, settings: EvolutionSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        # The oldest first. A trial that came further in its rungs ranks above one that was stopped
        # before it, whatever they scored.
        self._population: list[tuple[float, float, Code]] = []
        self._count = 0  # proposals and others' results: the first P are uniform draws

    def propose(self, number: int, draw: int = 0) -> Code:
        """Returns a mutant of the best of a sample; uniform draws until there is a population."""
        rng = self.generator(number, draw)
        if self._count < self.settings.population or not self._population:
            return self.space.sample_code(rng)
        size = min(self.settings.sample, len(self._population))
        *_, parent = max(rng.sample(self._population, size))
        return mutated(self.space, parent, rng)

    def asked(self, number: int, code: Code) -> None:
        """Counts a proposal."""
        self._count += 1

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Admits a scored candidate to the population."""
        if reward is not None:
            self._admit(math.inf, reward, code)

    def stop(self, number: int | None, stop: Stop) -> None:
        """Admits a stopped candidate, below all that came further."""
        self._count += number is None
        self._admit(len(stop.curve), stop.curve[-1], stop.code)

    def _admit(self, rungs: float, reward: float, code: Code) -> None:
        """Adds the newest; the oldest dies if there are too many."""
        self._population.append((rungs, reward, code))
        if len(self._population) > self.settings.population:
            alone = len(self._population) == 2
            self._population.remove(min(self._population) if alone else self._population[0])

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Admits another's result, which counts as a proposal too."""
        self._count += 1
        self.tell(-1, code, reward, excess)


def mutated(space: Space, parent: Sequence[int], rng: random.Random) -> Code:
    """Returns a code that takes another choice at one decision, drawn uniformly.

    Later decisions stay as they are where that is legal still. Where it isn't, those with the same
    choices take the one that the mutation displaced if they can, so that a permutation has two
    places swapped, and others draw. Where no decision has a second legal choice, it is the parent.
    """
    for place in rng.sample(range(len(parent)), len(parent)):
        others = [choice for choice in legal(space, parent[:place]) if choice != parent[place]]
        if others:
            break
    else:
        return tuple(parent)
    code = [*parent[:place], rng.choice(others)]
    displaced = space.decisions[place].choices
    for choice in parent[place + 1 :]:
        if not space.legal(code)[choice]:
            allowed = legal(space, code)
            swaps = parent[place] in allowed and space.decisions[len(code)].choices == displaced
            choice = parent[place] if swaps else rng.choice(allowed)
        code.append(choice)
    return tuple(code)


def legal(space: Space, prefix: Sequence[int]) -> list[int]:
    """Returns the choices that are legal after a prefix."""
    return [choice for choice, is_legal in enumerate(space.legal(prefix)) if is_legal]
