"""Mutants: one decision is changed, and those that this makes illegal draw again, or swap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from nas.controllers.evolution import mutated
from nas.space import ChoiceSpace


class Depths(ChoiceSpace):
    """A depth, and layers of which those beyond it can only be none."""

    def __init__(self) -> None:
        layers = {f"layer{i}": ["none", "a", "b", "c"] for i in range(3)}
        super().__init__({"depth": [1, 2, 3], **layers})

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        if not prefix:
            return (True,) * 3
        there = len(prefix) <= prefix[0] + 1
        return not there, there, there, there


class Permutations(ChoiceSpace):
    """Every choice once."""

    def __init__(self) -> None:
        super().__init__({f"place{i}": [0, 1, 2, 3] for i in range(4)})

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        return tuple(i not in prefix for i in range(4))


def test_layers_that_a_mutant_gains_are_drawn() -> None:
    """Its parent's depth has index 1, which is layer "a" too: that has nothing to do with it."""
    space, rng = Depths(), random.Random(0)
    mutants = [mutated(space, (1, 1, 2, 0), rng) for _ in range(4000)]
    deeper = [code for code in mutants if code[0] == 2]
    assert {code[:3] for code in deeper} == {(2, 1, 2)}
    shares = Counter(code[3] for code in deeper)
    assert set(shares) == {1, 2, 3}
    assert min(shares.values()) > 0.25 * len(deeper)


def test_layers_that_a_mutant_loses_are_none() -> None:
    space, rng = Depths(), random.Random(0)
    mutants = {mutated(space, (2, 3, 3, 3), rng) for _ in range(500)}
    assert {code for code in mutants if code[0] == 0} == {(0, 3, 0, 0)}
    assert {code for code in mutants if code[0] == 1} == {(1, 3, 3, 0)}


@pytest.mark.parametrize("parent", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_a_permutation_has_two_places_swapped(parent: tuple[int, ...]) -> None:
    space, rng = Permutations(), random.Random(0)
    for _ in range(200):
        mutant = mutated(space, parent, rng)
        differing = [i for i in range(4) if mutant[i] != parent[i]]
        assert len(differing) == 2 and sorted(mutant) == [0, 1, 2, 3]
