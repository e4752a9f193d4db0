"""Which samples of networks are timed: blocks among their neighbours, heads, whole networks.

Operators alone would be timed with what a runtime does at a model's ends, and without what it makes
of neighbours. So a sample is a unit of a drawn network, half of the time with one that reads it.
Which units are taken is a design: every family of operators first, then all kinds of units in turn,
the largest and the smallest of a kind before others.
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
"""Samples that have a family, before others are chosen."""


class NetworkSample(NamedTuple):
    """A part of a network, or a whole one, that is timed as one model.

    Attributes:
        name: a file's, without its ending.
        whole: whether it is a network, from the picture to the raw outputs.
    """

    name: str
    whole: bool
    tape: Tape

    @property
    def operators(self) -> Counter[Operator]:
        """Counts its operators."""
        return Counter(self.tape.operators)


class _UnitSite(NamedTuple):
    """A unit, its operators, and all units of the network that it stands in."""

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
) -> list[NetworkSample]:
    """Chooses what to time.

    Args:
        genomes: whose units are taken.
        networks: are timed as wholes.
        count: samples besides these; fewer where there are fewer distinct units.
        seed: of all chance.
        num_classes: background counts.

    Returns:
        Samples of units in the order of the design, then the networks.

    Raises:
        GenomeError: a part can't be taken apart into operators.
    """
    rng = random.Random(seed)
    sites = _distinct(genomes, num_classes)
    rng.shuffle(sites)
    chosen = [
        _sample(f"piece{i:03d}", site, rng, num_classes)
        for i, site in enumerate(_order(sites, count))
    ]
    for i, genome in enumerate(networks):
        tape = Tape()
        record_plan(tape, lower(genome), num_classes)
        chosen.append(NetworkSample(f"network{i:03d}", True, tape))
    return chosen


def _distinct(genomes: Sequence[Genome], num_classes: int) -> list[_UnitSite]:
    """Returns one site of each unit that computes the same on maps of equal sizes."""
    sites: dict[tuple[Operator, ...], _UnitSite] = {}
    for genome in genomes:
        units = lower(genome)
        for unit in units:
            if not unit.training_only:
                tape = Tape()
                reads = [tape.value(shape.channels, shape.size) for shape in unit.ins]
                unit.record(tape, reads, num_classes)
                sites.setdefault(tape.operators, _UnitSite(units, unit, tape.operators))
    return list(sites.values())


def _order(sites: Sequence[_UnitSite], count: int) -> list[_UnitSite]:
    """Returns the first `count` sites of the design."""
    # Units of the same families and output size are a kind; each has its extremes first.
    kinds: dict[tuple[object, ...], list[_UnitSite]] = defaultdict(list)
    for site in sites:
        families = tuple(sorted({family(operator) for operator in site.operators}))
        kinds[families, site.unit.outs[0].size].append(site)
    groups = [
        [max(group, key=lambda site: site.macs), min(group, key=lambda site: site.macs), *group]
        for group in kinds.values()
    ]
    # Sites are distinct by their operators, and a group has its extremes twice.
    ordered = {site.operators: site for site in (*_rare(sites), *_in_turn(groups))}
    return list(ordered.values())[:count]


def _rare(sites: Sequence[_UnitSite]) -> Iterator[_UnitSite]:
    """Yields sites that have a family of which there aren't enough yet."""
    chosen: Counter[str] = Counter()
    for site in sites:
        families = {family(operator) for operator in site.operators}
        if any(chosen[name] < ENOUGH for name in families):
            chosen.update(families)
            yield site


def _in_turn(groups: Sequence[Sequence[_UnitSite]]) -> Iterator[_UnitSite]:
    """Yields the first of each group, then the second of each, and so on."""
    for turn in range(max((len(group) for group in groups), default=0)):
        yield from (group[turn] for group in groups if turn < len(group))


def _sample(name: str, site: _UnitSite, rng: random.Random, num_classes: int) -> NetworkSample:
    """Returns a unit and, half of the time, one of those that read it, as a model of their own."""
    units = site.units
    readers = [unit for unit in units if any(port.unit == site.unit.name for port in unit.inputs)]
    members = [site.unit]
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
    return NetworkSample(name, False, tape)
