"""What a part says of itself agrees: shapes with operators, and the tally with the tape."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from nas.errors import GenomeError
from nas.genome import Genome, Unit
from nas.genome.memo import Memo, remembered
from nas.genome.plan import lower
from nas.genome.tally import Tally
from nas.genome.tape import Tape
from search_spaces import zoo
from search_spaces.mobile import MobileSpace
from search_spaces.spinenet import SpineNetSpace
from tests.genome.counting import published


def genomes() -> Iterator[Genome]:
    yield from map(zoo.genome, zoo.names())
    yield from map(published, ("ssd300-vgg16", "mobilenetv2-0.75-rfcr"))
    rng = random.Random(7)
    for space in (SpineNetSpace(), SpineNetSpace(deploy={"block": "mobile"}), MobileSpace()):
        for _ in range(20):
            yield space.sample(rng)
            yield space.sample(rng).scaled(width=0.4, alpha=0.3, input_size=32 * rng.choice((5, 9)))


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """The different units of these genomes, whatever they are called."""
    every = (unit._replace(name="", inputs=()) for genome in genomes() for unit in lower(genome))
    distinct = {(unit.part.signature, *unit[3:], unit.kind): unit for unit in every}
    assert {unit.kind for unit in distinct.values()} == {
        *("block", "edge", "endpoint", "head", "neck", "tap")
    }
    return list(distinct.values())


def test_operators_give_the_shapes_that_the_rule_says(units: list[Unit]) -> None:
    for unit in units:
        tape = Tape()
        reads = [tape.value(shape.channels, shape.size) for shape in unit.ins]
        gives = unit.record(tape, reads, 21)
        if unit.kind != "head":
            assert [value[1:] for value in gives] == [shape[:2] for shape in unit.outs], unit


def test_values_are_numbered_and_read_after_they_were_made(units: list[Unit]) -> None:
    for unit in units:
        tape = Tape()
        reads = [tape.value(*shape[:2]) for shape in unit.ins]
        unit.record(tape, reads, 21)
        made = [value.number for value in reads]
        for step in tape.steps:
            assert set(step.reads) <= set(made) and step.gives not in made
            made.append(step.gives)


def test_a_tally_is_the_sum_over_a_tape(units: list[Unit]) -> None:
    for unit in units:
        tape, tally = Tape(), Tally()
        for kind in (tape, tally):
            unit.record(kind, [kind.value(*shape[:2]) for shape in unit.ins], 21)
        learnt = [step.learnt for step in tape.steps]
        assert tally.params == sum((not one.shared) * one.weights + one.others for one in learnt)
        assert tally.macs == sum(one.weights * one.places for one in learnt)
        assert tally.weights == sum(one.weights for one in learnt if not one.shared)
        assert tally.bits == 32 * tally.params and not tally.steps


def test_learnt_weights_are_the_operators_multiply_adds(units: list[Unit]) -> None:
    for unit in units:
        tape = Tape()
        unit.record(tape, [tape.value(*shape[:2]) for shape in unit.ins], 21)
        for step in tape.steps:
            places = step.operator.size**2
            assert step.operator.macs == step.learnt.weights * places
            if unit.kind != "edge":  # a way up is counted at its reader's size
                assert step.learnt.places in (places, 0)


def test_binary_weights_take_a_bit_each() -> None:
    tally = Tally()
    x = tally.value(8, 16)
    tally.conv(x, 4, 3, bits=1)
    assert (tally.params, tally.bits) == (8 * 4 * 9 + 2 * 4, 8 * 4 * 9 + 32 * 2 * 4)


def test_a_memo_forgets_at_its_limit() -> None:
    roots: Memo[int, int] = Memo(limit=2)
    assert [roots.keep(4, 2), roots.keep(9, 3), roots.get(4), roots.get(9)] == [2, 3, 2, 3]
    assert roots.keep(16, 4) == 4 and roots == {16: 4}


def test_what_is_remembered_is_one_object_and_no_failure_is() -> None:
    asked = []

    @remembered
    def root(square: int) -> list[int]:
        asked.append(square)
        if square < 0:
            raise GenomeError("negative")
        return [int(square**0.5)]

    assert root(4) is root(4) and root(9) == [3]
    for _ in range(2):
        with pytest.raises(GenomeError):
            root(-1)
    assert asked == [4, 9, -1, -1]
