"""Which pieces of networks are timed: blocks among their neighbours, heads, whole networks.

Operators alone would be timed with what a runtime does at a model's ends, and without what it makes
of neighbours. So a piece is a unit of a drawn network, half of the time with one that reads it.
Which units, is a design: every family of operators first, then all kinds of units in turn, the
largest and the smallest of a kind before others.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nas.cost.latency.features import family
from nas.genome import Genome, Port, Unit
from nas.genome.operators import Operator
from nas.genome.plan import lower
from nas.genome.tape import Tape, Value
from nas.genome.units import record_plan

ENOUGH = 3
"""Pieces that hold a family, before others are looked at."""


class Sample(NamedTuple):
    """What is timed as one model.

    Attributes:
        name: a file's, without its ending.
        whole: whether it is a network, from the picture to the raw outputs.
    """

    name: str
    whole: bool
    tape: Tape

    @property
    def operators(self) -> Counter[Operator]:
        """How often it has which operator."""
        return Counter(self.tape.operators)


class _Place(NamedTuple):
    """A unit among those of the network that it was met in, and its operators."""

    units: tuple[Unit, ...]
    unit: Unit
    operators: tuple[Operator, ...]

    @property
    def macs(self) -> int:
        return sum(operator.macs for operator in self.operators)


def design(
    genomes: Sequence[Genome],
    networks: Sequence[Genome],
    count: int,
    seed: int = 0,
    num_classes: int = 91,
) -> list[Sample]:
    """Chooses what to time.

    Args:
        genomes: whose units are taken.
        networks: are timed as wholes.
        count: pieces besides these; fewer where there are fewer distinct units.
        seed: of all chance.
        num_classes: background counts.

    Raises:
        GenomeError: a part can't be taken apart into operators.
    """
    rng = random.Random(seed)
    places = _distinct(genomes, num_classes)
    rng.shuffle(places)
    chosen = [
        _piece(f"piece{i:03d}", place, rng, num_classes)
        for i, place in enumerate(_order(places, count))
    ]
    for i, genome in enumerate(networks):
        tape = Tape()
        record_plan(tape, lower(genome), num_classes)
        chosen.append(Sample(f"network{i:03d}", True, tape))
    return chosen


def _distinct(genomes: Sequence[Genome], num_classes: int) -> list[_Place]:
    """One place of each unit that computes the same on maps of equal sizes."""
    places: dict[tuple[Operator, ...], _Place] = {}
    for genome in genomes:
        units = lower(genome)
        for unit in units:
            if not unit.training_only:
                tape = Tape()
                reads = [tape.value(shape.channels, shape.size) for shape in unit.ins]
                unit.record(tape, reads, num_classes)
                places.setdefault(tape.operators, _Place(units, unit, tape.operators))
    return list(places.values())


def _order(places: Sequence[_Place], count: int) -> list[_Place]:
    """The first ``count`` places of the design."""
    kinds: dict[tuple[object, ...], list[_Place]] = defaultdict(list)
    for place in places:
        families = tuple(sorted({family(operator) for operator in place.operators}))
        kinds[families, place.unit.outs[0].size].append(place)
    groups = [
        [max(group, key=lambda place: place.macs), min(group, key=lambda place: place.macs), *group]
        for group in kinds.values()
    ]
    # Places are distinct by their operators, and a group has its extremes twice.
    ordered = {place.operators: place for place in (*_rare(places), *_in_turn(groups))}
    return list(ordered.values())[:count]


def _rare(places: Sequence[_Place]) -> Iterator[_Place]:
    """Places that hold a family of which there aren't enough yet."""
    held: Counter[str] = Counter()
    for place in places:
        families = {family(operator) for operator in place.operators}
        if any(held[name] < ENOUGH for name in families):
            held.update(families)
            yield place


def _in_turn(groups: Sequence[Sequence[_Place]]) -> Iterator[_Place]:
    for turn in range(max((len(group) for group in groups), default=0)):
        yield from (group[turn] for group in groups if turn < len(group))


def _piece(name: str, place: _Place, rng: random.Random, num_classes: int) -> Sample:
    """A unit and, half of the time, one of those that read it."""
    units = place.units
    readers = [unit for unit in units if any(port.unit == place.unit.name for port in unit.inputs)]
    members = [place.unit]
    if rng.random() < 0.5:
        near = [unit for unit in readers if unit.kind != "head" and not unit.training_only]
        members += [rng.choice(near)] if near else []
    tape, values = Tape(), {}
    for unit in members:
        for port, shape in zip(unit.inputs, unit.ins, strict=True):
            if port not in values:
                values[port] = tape.input(shape.channels, shape.size)
        gives = unit.record(tape, [values[port] for port in unit.inputs], num_classes)
        values.update({Port(unit.name, i): value for i, value in enumerate(gives)})
        last = gives
    ends: Sequence[Value] = last if members[-1].kind == "head" else last[:1]
    for value in ends:
        tape.output(value)
    return Sample(name, False, tape)
