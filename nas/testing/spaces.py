"""What every space keeps to: legal codes, the way back from a candidate, stable keys, its size."""

from __future__ import annotations

import abc
import itertools
import json
import math
import random
from typing import ClassVar

import pytest

from nas.errors import GenomeError
from nas.space import Space


class SpaceSuite(abc.ABC):
    """Tests of a space.

    Attributes:
        draws: random codes that are tried.
        walked: a space of at most so many codes is walked as a whole.
    """

    draws: ClassVar[int] = 20
    walked: ClassVar[int] = 500

    @abc.abstractmethod
    def make_space(self) -> Space:
        """Returns the space, a new object at each call."""

    @pytest.fixture
    def space(self) -> Space:
        """Returns the space."""
        return self.make_space()

    def test_draws_are_legal_and_come_back(self, space: Space) -> None:
        """A drawn code is legal, and its candidate has a code of the same candidate."""
        rng = random.Random(0)
        for _ in range(self.draws):
            code = space.sample_code(rng)
            space.check(code)
            candidate = space.decode(code)
            again = space.encode(candidate)
            space.check(again)
            assert again <= code, "encode gives the first code of several, in lexical order"
            assert space.key(space.decode(again)) == space.key(candidate)
            assert space.contains(candidate)

    def test_every_mask_leaves_a_choice(self, space: Space) -> None:
        """Masks are as long as the choices, and no legal walk ends early."""
        rng = random.Random(1)
        for _ in range(self.draws):
            code: list[int] = []
            for decision in space.decisions:
                mask = space.legal(code)
                assert len(mask) == len(decision.choices) and any(mask)
                code.append(rng.choice([i for i, is_legal in enumerate(mask) if is_legal]))

    def test_decisions_have_names_of_their_own(self, space: Space) -> None:
        """No two decisions share a name, and each has choices."""
        names = [decision.name for decision in space.decisions]
        assert len(set(names)) == len(names)
        assert all(decision.choices for decision in space.decisions)

    def test_illegal_codes_are_refused(self, space: Space) -> None:
        """Codes that are too short, too long or out of range raise a GenomeError."""
        code = space.sample_code(random.Random(2))
        beyond = (*code[:-1], len(space.decisions[-1].choices))
        for wrong in (code[:-1], (*code, 0), beyond):
            with pytest.raises(GenomeError):
                space.decode(wrong)

    def test_a_second_object_gives_the_same(self, space: Space) -> None:
        """Keys, descriptions and features are those of another object of the space."""
        other, rng = self.make_space(), random.Random(3)
        described = space.describe()
        assert json.loads(json.dumps(described)) == json.loads(json.dumps(other.describe()))
        for _ in range(min(self.draws, 5)):
            code = space.sample_code(rng)
            first, second = space.decode(code), other.decode(code)
            assert isinstance(space.key(first), str) and space.key(first) == other.key(second)
            assert space.features(first) == other.features(second)

    def test_features_are_finite_and_always_the_same_ones(self, space: Space) -> None:
        """All candidates have features of the same names, and each is a number."""
        rng = random.Random(4)
        drawn = [space.features(space.sample(rng)) for _ in range(self.draws)]
        assert all(features.keys() == drawn[0].keys() for features in drawn)
        assert all(math.isfinite(value) for features in drawn for value in features.values())

    def test_size_counts_the_codes(self, space: Space) -> None:
        """The size is the number of legal codes, counted where they are few."""
        codes = list(itertools.islice(space.codes(), self.walked + 1))
        assert codes == sorted(set(codes))
        if len(codes) <= self.walked:
            assert space.size() == len(codes)
        else:
            assert space.size() > self.walked
