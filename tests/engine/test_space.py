from __future__ import annotations

import json
import random

import pytest

from nas.errors import ConfigError, GenomeError
from nas.space import ChoiceSpace
from tests.engine.toys import SPACES, StaircaseSpace


@pytest.mark.parametrize("name", SPACES)
def test_every_code_round_trips(name: str) -> None:
    space = SPACES[name]()
    codes = list(space.codes())
    assert len(codes) == len(set(codes)) == space.size()
    assert codes == sorted(codes)
    keys = set()
    for code in codes[:300]:
        candidate = space.decode(code)
        assert space.encode(candidate) == code
        assert space.contains(candidate)
        keys.add(space.key(candidate))
    assert len(keys) == len(codes[:300])


def test_staircase_has_a_catalan_number_of_codes() -> None:
    # Sequences that start at 0 and rise by at most 1 are counted by the Catalan numbers.
    assert [StaircaseSpace(n, n).size() for n in (1, 2, 3, 4, 5)] == [1, 2, 5, 14, 42]


def test_draws_are_uniform_at_each_decision() -> None:
    space, rng = StaircaseSpace(2, 2), random.Random(0)
    draws = [space.sample_code(rng) for _ in range(2000)]
    assert 900 < draws.count((0, 0)) < 1100 and set(draws) == {(0, 0), (0, 1)}


def test_choices_of_equal_value_and_other_type_differ() -> None:
    space = ChoiceSpace({"a": [1, 1.0, True, "1"]})
    assert [space.encode(space.decode((i,))) for i in range(4)] == [(0,), (1,), (2,), (3,)]
    assert len({space.key(space.decode((i,))) for i in range(4)}) == 4


def test_illegal_codes_are_refused_by_name() -> None:
    space = StaircaseSpace(3, 3)
    with pytest.raises(GenomeError, match=r"'step1' has choice 2, legal here are \[0, 1\]"):
        space.decode((0, 2, 0))
    with pytest.raises(GenomeError, match="3 entries, this has 2"):
        space.decode((0, 0))
    with pytest.raises(GenomeError, match="'a' is 7"):
        ChoiceSpace({"a": [0]}).encode({"a": 7})
    assert not space.contains({"step0": 0, "step1": 2, "step2": 0})
    assert not space.contains("something else")


@pytest.mark.parametrize("choices", [{}, {"a": []}, {"a": [1, 1]}])
def test_unusable_choices_are_refused(choices: dict[str, list[int]]) -> None:
    with pytest.raises(ConfigError):
        ChoiceSpace(choices)


def test_descriptions_and_features() -> None:
    first, second = (ChoiceSpace({"a": [0, 1], "b": order}) for order in (["x", "y"], ["y", "x"]))
    assert json.loads(json.dumps(first.describe())) == first.describe() != second.describe()
    assert first.features({"a": 1, "b": "y"}) == {"a": 1.0, "b=x": 0.0, "b=y": 1.0}
