"""Blocks, the edges between them, and the taps by which their maps leave the graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from nas.genome.part import Activation, Name, Part
from nas.genome.parts import (
    OPERATIONS,
    RESAMPLES,
    TRANSFORMS,
    Direct,
    Operation,
    Resample,
    Transform,
)
from nas.genome.tape import Tape, Value

IMAGE = "image"
"""The name by which a block reads the input picture."""


class Edge(Part):
    """One input of a block: which block, at which point, resampled how."""

    block: Name
    point: Literal["out", "expand"] = "out"
    resample: Annotated[Resample, RESAMPLES] = Direct()

    @property
    def output(self) -> int:
        """Returns which of the block's maps is read: 0 is the output, 1 the expanded map."""
        return int(self.point == "expand")


class Block(Part):
    """One node of the graph.

    Attributes:
        id: unique name; `image` is taken.
        level: nominal log2 stride of the output.
        inputs: ordered edges from blocks that are listed earlier, or from `image`.
        combine: how several inputs become one; `weighted_sum` learns one factor per input.
        fuse_activation: applied to the combined input, before the operation.
        repeats: how many copies follow each other; copies after the first keep width and size.
        rank: position for stochastic depth, 1 to n; None never drops the block.
    """

    id: Name
    level: Annotated[int, Field(ge=0, le=10)]
    op: Annotated[Operation, OPERATIONS]
    inputs: Annotated[tuple[Edge, ...], Field(min_length=1, max_length=64)]
    combine: Literal["sum", "concat", "weighted_sum"] = "sum"
    fuse_activation: Activation = "none"
    repeats: Annotated[int, Field(ge=1, le=16)] = 1
    rank: Annotated[int, Field(ge=1, le=999)] | None = None

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Returns the ids of what it reads, one per input."""
        return tuple([edge.block for edge in self.inputs])

    @cached_property
    def reads(self) -> tuple[tuple[str, int], ...]:
        """Returns for each input the id and the output that is read; 1 is the expanded map."""
        return tuple([(edge.block, edge.output) for edge in self.inputs])

    @cached_property
    def structure(self) -> tuple[object, ...]:
        """Returns all fields but names and rank; blocks that agree in them share their shapes."""
        edges = tuple([(edge.point, edge.resample.signature) for edge in self.inputs])
        around = (self.level, self.combine, self.fuse_activation, self.repeats)
        return self.op.signature, edges, *around

    def record(self, tape: Tape, reads: Sequence[Value], width: int) -> tuple[Value, ...]:
        """Records the combination of its inputs and all its copies.

        Args:
            tape: what the operators are added to.
            reads: one value per input.
            width: of its operation, under the network's scale.

        Returns:
            What the last copy gives, then the inner maps of the first.

        Raises:
            GenomeError: when its operators aren't known.
        """
        x = tape.activate(self._combined(tape, reads), self.fuse_activation)
        out, *inner = self.op.record(tape, x, width, self.op.window.stride)
        for _ in range(self.repeats - 1):
            out, *_ = self.op.record(tape, out, width, 1)
        return out, *inner

    def _combined(self, tape: Tape, reads: Sequence[Value]) -> Value:
        if self.combine == "concat":
            return tape.concat(reads)
        if self.combine == "weighted_sum":
            reads = [tape.weigh(value) for value in reads]
        return tape.add(reads)


class Tap(Part):
    """A map that the neck reads; `training_only` maps are absent from what is shipped."""

    block: Name
    point: Literal["out", "expand"] = "out"
    transform: Annotated[Transform, TRANSFORMS] | None = None
    training_only: bool = False

    @property
    def output(self) -> int:
        """Returns which of the block's maps is read: 0 is the output, 1 the expanded map."""
        return int(self.point == "expand")
