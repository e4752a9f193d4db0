"""Units: the resolved parts that builder, cost, pictures and keys read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from nas.genome.blocks import Block
from nas.genome.part import Part


class Shape(NamedTuple):
    """A map: channels, side in pixels, nominal log2 stride."""

    channels: int
    size: int
    level: int


class Port(NamedTuple):
    """One output of a unit; output 1 of an inverted residual is its expanded map."""

    unit: str
    output: int = 0


class Unit(NamedTuple):
    """One part of the deployed network, resolved.

    Attributes:
        name: a Python identifier, unique within the plan.
        kind: block, edge, tap, endpoint, neck or head.
        part: what it is made from.
        block: the block it is, or feeds; None from the taps on.
        inputs: where its inputs come from; ``image`` is the picture.
        ins, outs: shapes of inputs and outputs.
        width: resolved base width of a block's operation.
        middle: channels inside a SpineNet resampling.
        training_only: absent from what is shipped.
        unshipped: of a head, positions of inputs that it reads in training alone.
    """

    name: str
    kind: Literal["block", "edge", "tap", "endpoint", "neck", "head"]
    part: Part
    block: Block | None
    inputs: tuple[Port, ...]
    ins: tuple[Shape, ...]
    outs: tuple[Shape, ...]
    width: int = 0
    middle: int = 0
    training_only: bool = False
    unshipped: tuple[int, ...] = ()


def fused_channels(unit: Unit) -> int:
    """Channels that a block's operation reads, of all its inputs together."""
    if unit.block is not None and unit.block.combine == "concat":
        return sum(shape.channels for shape in unit.ins)
    return unit.ins[0].channels


def deployed(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """What is shipped of a plan: without units, and inputs of the head, for training alone.

    Profile, latency, evaluation and exports read this; the key reads everything, for networks
    that are trained differently aren't the same candidate.
    """
    return tuple(_shipped(unit) for unit in units if not unit.training_only)


def _shipped(unit: Unit) -> Unit:
    if not unit.unshipped:
        return unit
    kept = [i for i in range(len(unit.inputs)) if i not in unit.unshipped]
    inputs = tuple(unit.inputs[i] for i in kept)
    ins = tuple(unit.ins[i] for i in kept)
    return unit._replace(inputs=inputs, ins=ins, outs=ins, unshipped=())
