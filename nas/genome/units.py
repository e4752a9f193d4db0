"""Units: the resolved parts that builder, cost, pictures and keys read."""

from __future__ import annotations

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
