"""A device's table: what the features of its operators take, and what that came from.

The time of a network is the sum over its operators of their weighted features
(`nas.cost.latency.features` has the formula), plus `overhead_ms`. Nothing else is read from the
file for it, so that a table written by hand may leave the rest out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from nas.cost.latency.conditions import Conditions, Time, Words
from nas.cost.latency.features import Feature, Machine, extent, family, latency_features
from nas.errors import ConfigError
from nas.genome import Genome, Unit
from nas.genome.layout import shipped_blocks
from nas.genome.maps import Shape
from nas.genome.memo import Memo
from nas.genome.operators import Operator
from nas.genome.parts import Resample
from nas.genome.plan import ends, lower
from nas.genome.shapes import ResolvedBlock
from nas.genome.tape import Tape
from nas.genome.units import deployed, record_picture, record_plan
from nas.settings import Settings

VERSION = 2
"""Of the files that are read and written."""
MOST_TIMES, MOST_FAMILIES = 5000, 200
BEYOND = 4.0
"""How many times as large as any that was timed an operator may be."""

Amount = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Family(Settings):
    """Operators with the same weights.

    Attributes:
        ms: what each feature takes, in milliseconds; one that isn't there takes nothing.
        largest: extent of the largest operator that was timed (`nas.cost.latency.features.extent`);
            None, in a table by hand, holds for any size.
    """

    ms: dict[Feature, Amount]
    largest: PositiveInt | None = None


class Accuracy(Settings):
    """How far times predicted for what was left out of a fit are off.

    Attributes:
        pieces: number of samples that were timed.
        networks: number of whole networks that were timed.
        piece_error: median of the samples' absolute relative errors; None without any.
        network_error: the same of networks.
    """

    pieces: NonNegativeInt
    networks: NonNegativeInt
    piece_error: Amount | None
    network_error: Amount | None


class MeasurementProtocol(Settings):
    """How it was measured, beyond the conditions; one picture at a time, raw outputs only.

    Attributes:
        rounds: over all samples; the time of a sample is the median of its rounds'.
        warm_up: runs before those that count.
        disturbed: share of all runs during which the process waited for the processor.
        load_before: processes that wanted to run before it began; None if unknown.
    """

    rounds: PositiveInt
    warm_up: NonNegativeInt
    disturbed: Annotated[float, Field(ge=0, le=1)]
    load_before: Amount | None


class Measurement(Settings):
    """The time of a sample or network.

    Attributes:
        name: of the file that was timed.
        whole: whether it is a network.
        operators: how often it has which (`Operator.text`).
        ms: median of the rounds.
        p95_ms: 95th percentile of all runs.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]
    whole: bool
    operators: Annotated[
        dict[str, Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=1, max_length=2000)
    ]
    ms: Time
    p95_ms: Time

    @field_validator("operators")
    @classmethod
    def _are_operators(cls, counts: dict[str, int]) -> dict[str, int]:
        for text in counts:
            Operator.parse(text)
        return counts


class LatencyTable(Conditions):
    """What a device takes for any network of known operators.

    Attributes:
        channel_block, near_bytes: see `Machine`.
        families: weights by `nas.cost.latency.features.family`.

    Example:
        >>> table = read_table(Path("pixel4.json"))
        >>> costs = lambda genome: profile(genome, num_classes=32, latency=table).costs()
        >>> search(space, evaluate, budget=120, limits={"latency_ms": 30}, costs=costs)
    """

    version: Literal[2]
    channel_block: Annotated[int, Field(ge=1, le=1024)] = Machine().channel_block
    near_bytes: Annotated[int, Field(ge=1, le=2**40)] = Machine().near_bytes
    families: Annotated[dict[Words, Family], Field(min_length=1, max_length=MOST_FAMILIES)]

    @cached_property
    def machine(self) -> Machine:
        """What the features depend on besides the operator."""
        return Machine(self.channel_block, self.near_bytes)

    def time_ms(self, genome: Genome, num_classes: int = 91) -> float:
        """Returns the time of one picture in milliseconds, raw outputs and overhead.

        Raises:
            GenomeError: the genome isn't legal, or a part can't be taken apart.
            ConfigError: the table has no weights for an operator; names it.
        """
        blocks = [self._block_ms(resolved) for resolved in shipped_blocks(genome.layout).values()]
        times = [self._unit_ms(unit, num_classes) for unit in deployed(ends(genome))]
        times += itertools.chain.from_iterable(blocks)
        return math.fsum((self.overhead_ms, self._picture_ms(genome.input.size), *times))

    def cover(self, genomes: Iterable[Genome], num_classes: int) -> None:
        """Refuses to go on without weights for all that these genomes have.

        Raises:
            ConfigError: names the first operator of an unknown kind, or far larger than all that
                were timed.
        """
        checked: set[Operator] = set()
        for genome in genomes:
            for operator in dict.fromkeys(_tape(genome, num_classes).operators):
                if operator not in checked:
                    checked.add(operator)
                    self._check_reach(operator)

    def _check_reach(self, operator: Operator) -> None:
        largest, size = self._family(operator).largest, extent(operator)
        if largest is not None and size > BEYOND * largest:
            unit = "multiply-adds" if operator.macs else "values"
            raise ConfigError(
                f"the latency table of {self.device} was made from {family(operator)!r} of "
                f"{largest:,} {unit} at most, and {operator.text!r} has {size:,}; add times of a "
                "space or genome that has it (nas device measure, or pack and add)"
            )

    def _family(self, operator: Operator) -> Family:
        weights = self.families.get(family(operator))
        if weights is None:
            raise ConfigError(
                f"the latency table of {self.device} has no times for {family(operator)!r}, such "
                f"as {operator.text!r}; add those of a space or genome that has it (nas device "
                "measure, or pack and add; in a table by hand, a line of families)"
            )
        return weights

    def operator_ms(self, operator: Operator) -> float:
        """Returns the milliseconds of one operator, in a network among its neighbours.

        Raises:
            ConfigError: the table has no weights for it.
        """
        ms, values = self._family(operator).ms, latency_features(operator, self.machine)
        return math.fsum(weight * values.get(name, 0.0) for name, weight in ms.items())

    @cached_property
    def _blocks(self) -> Memo[ResolvedBlock, tuple[float, ...]]:
        return Memo()

    @cached_property
    def _times(self) -> Memo[object, float]:
        return Memo()

    def _block_ms(self, resolved: ResolvedBlock) -> tuple[float, ...]:
        """Returns the times of a block's edges and of itself, each of which is a unit."""
        cached = self._blocks.get(resolved)
        if cached is None:
            ways = zip(
                resolved.block.inputs, resolved.sources, resolved.ins, resolved.middles, strict=True
            )
            edges = [
                self._edge_ms(edge.resample, source.shape, target, middle)
                for edge, source, target, middle in ways
                if edge.resample.changes
            ]
            tape = Tape()
            reads = [tape.value(shape.channels, shape.size) for shape in resolved.ins]
            resolved.block.record(tape, reads, resolved.width)
            cached = self._blocks.keep(resolved, (*edges, self._tape_ms(tape)))
        return cached

    def _edge_ms(self, resample: Resample, source: Shape, target: Shape, middle: int) -> float:
        """Returns the time of an edge, which many blocks have alike."""
        key = (resample.signature, source, target, middle)
        cached = self._times.get(key)
        if cached is None:
            tape = Tape()
            resample.record(tape, tape.value(source.channels, source.size), source, target, middle)
            cached = self._times.keep(key, self._tape_ms(tape))
        return cached

    def _unit_ms(self, unit: Unit, num_classes: int) -> float:
        """Returns the time of a unit from the taps on."""
        classes = num_classes if unit.kind == "head" else 0
        key = (unit.part.signature, unit.ins, unit.outs, classes)
        cached = self._times.get(key)
        if cached is None:
            tape = Tape()
            reads = [tape.value(shape.channels, shape.size) for shape in unit.ins]
            gives = unit.record(tape, reads, num_classes)
            for value in gives if unit.kind == "head" else ():
                tape.output(value)
            cached = self._times.keep(key, self._tape_ms(tape))
        return cached

    def _picture_ms(self, size: int) -> float:
        cached = self._times.get(size)
        if cached is None:
            tape = Tape()
            record_picture(tape, size)
            cached = self._times.keep(size, self._tape_ms(tape))
        return cached

    def _tape_ms(self, tape: Tape) -> float:
        return math.fsum([self.operator_ms(operator) for operator in tape.operators])


class DeviceTable(LatencyTable):
    """A table that was fitted to what was measured on a device.

    Attributes:
        protocol: how it was measured.
        accuracy: how far the table is off.
        measured: what the weights were fitted to.
    """

    protocol: MeasurementProtocol
    accuracy: Accuracy
    measured: Annotated[tuple[Measurement, ...], Field(min_length=1, max_length=MOST_TIMES)]


def families(genome: Genome, num_classes: int = 91) -> dict[str, int]:
    """Returns the families of operators that a table must have for a genome.

    Args:
        genome: as deployed.
        num_classes: background counts.

    Returns:
        Each family in order of the network, with the extent of its largest operator.

    Raises:
        GenomeError: when the genome isn't legal.
    """
    largest: dict[str, int] = {}
    for operator in _tape(genome, num_classes).operators:
        name = family(operator)
        largest[name] = max(largest.get(name, 0), extent(operator))
    return largest


def _tape(genome: Genome, num_classes: int) -> Tape:
    """Returns all operators of a network as deployed."""
    tape = Tape()
    record_plan(tape, lower(genome), num_classes)
    return tape
