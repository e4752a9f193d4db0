"""Units: the resolved parts that builder, cost, pictures and keys read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from nas.genome.blocks import IMAGE, Block
from nas.genome.maps import Shape
from nas.genome.tape import Tape, Value


class Port(NamedTuple):
    """One output of a unit; output 1 of an inverted residual is its expanded map."""

    unit: str
    output: int = 0


class Unit(NamedTuple):
    """One part of the deployed network, resolved.

    Attributes:
        name: a Python identifier, unique within the plan.
        kind: block, edge, tap, endpoint, neck or head.
        part: what it is made from: of a kind the operation, resampling, transform, neck or head.
        block: the block it is, or feeds; None from the taps on.
        inputs: where its inputs come from; `image` is the picture.
        ins, outs: shapes of inputs and outputs.
        width: resolved base width of a block's operation.
        middle: channels inside a resampling.
        training_only: absent from what is shipped.
        unshipped: of a head, positions of inputs that it reads in training alone.
    """

    name: str
    kind: Literal["block", "edge", "tap", "endpoint", "neck", "head"]
    part: Any
    block: Block | None
    inputs: tuple[Port, ...]
    ins: tuple[Shape, ...]
    outs: tuple[Shape, ...]
    width: int = 0
    middle: int = 0
    training_only: bool = False
    unshipped: tuple[int, ...] = ()

    def record(self, tape: Tape, reads: Sequence[Value], num_classes: int) -> tuple[Value, ...]:
        """Records its operators.

        Args:
            tape: what they are added to.
            reads: a value for each of its inputs.
            num_classes: background counts; only a head reads it.

        Returns:
            A value for each of its outputs; of a head the logits and the box codes of all anchors.

        Raises:
            GenomeError: for a part whose operators aren't known.
        """
        outs: tuple[Value, ...]
        if self.kind == "block":
            assert self.block is not None
            return self.block.record(tape, reads, self.width)
        if self.kind == "edge":
            out = self.part.record(tape, reads[0], self.ins[0], self.outs[0], self.middle)
            return (out,)
        if self.kind == "tap":
            return (self.part.record(tape, reads[0]),)
        if self.kind == "head":
            outs = self.part.record(tape, reads, num_classes)
            return outs
        outs = self.part.record(tape, reads)
        return outs

    def check_buildable(self) -> None:
        """Refuses what no module is built for yet.

        Raises:
            GenomeError: names the unit, and what would be legal.
        """
        name = f"block {self.block.id!r}" if self.kind == "block" and self.block else self.name
        self.part.check_buildable(name)


def fused_channels(unit: Unit) -> int:
    """Returns the channels that a block's operation reads, of all its inputs together."""
    if unit.block is not None and unit.block.combine == "concat":
        return sum(shape.channels for shape in unit.ins)
    return unit.ins[0].channels


def deployed(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Returns what is shipped of a plan: no units, and no inputs of the head, for training alone.

    Profile, latency, evaluation and exports read this; the key reads everything, for networks
    that are trained differently aren't the same candidate.
    """
    return tuple(_shipped(unit) for unit in units if not unit.training_only)


def _shipped(unit: Unit) -> Unit:
    """Returns a unit without the inputs that it reads in training alone."""
    if not unit.unshipped:
        return unit
    kept = [i for i in range(len(unit.inputs)) if i not in unit.unshipped]
    inputs = tuple(unit.inputs[i] for i in kept)
    ins = tuple(unit.ins[i] for i in kept)
    return unit._replace(inputs=inputs, ins=ins, outs=ins, unshipped=())


def record_plan(tape: Tape, units: Sequence[Unit], num_classes: int) -> tuple[Value, ...]:
    """Records what is shipped of a plan, from the picture to the raw outputs.

    Returns:
        Logits and box codes.

    Raises:
        GenomeError: for a part whose operators aren't known.
    """
    values: dict[tuple[str, int], Value] = {(IMAGE, 0): record_picture(tape, units[0].ins[0].size)}
    gives: tuple[Value, ...] = ()
    for unit in deployed(units):
        gives = unit.record(tape, [values[port] for port in unit.inputs], num_classes)
        values.update({(unit.name, i): value for i, value in enumerate(gives)})
    for value in gives:
        tape.output(value)
    return gives


def record_picture(tape: Tape, size: int) -> Value:
    """Records the picture of this side, normalised."""
    return tape.normalize(tape.input(3, size))
