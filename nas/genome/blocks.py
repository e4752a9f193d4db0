"""Blocks and the edges between them: the nodes of the graph, and how each reads others."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from nas.genome.operations import Operation
from nas.genome.part import Activation, Fraction, Name, Part

IMAGE = "image"
"""The name by which a block reads the input picture."""
_NAMES = {"__all__": {"block"}}  # of what a block reads


class Direct(Part):
    """The parent's map as it is: same size and, under a sum, same channels."""

    type: Literal["direct"] = "direct"


class AlphaResample(Part):
    """SpineNet's resampling: 1×1 to ``alpha`` of the parent's base width, scale, 1×1.

    Down by 2: one strided 3×3 convolution; further down: one max-pool after it.  Up: nearest.
    Source: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet.py.
    """

    type: Literal["alpha"] = "alpha"
    alpha: Fraction = 0.5
    activation: Activation = "relu"
    pool_padding: Literal["same", "symmetric"] = "same"


class SeparableResample(Part):
    """SpineNet-Mobile's resampling: depthwise strided 3×3 steps down, nearest up, one 1×1."""

    type: Literal["separable"] = "separable"
    activation: Activation = "swish"


Resample = Annotated[Direct | AlphaResample | SeparableResample, Field(discriminator="type")]


class Edge(Part):
    """One input of a block: which block, at which point, resampled how."""

    block: Name
    point: Literal["out", "expand"] = "out"
    resample: Resample = Direct()

    @property
    def output(self) -> int:
        """Which of the block's maps is read."""
        return int(self.point == "expand")


class Block(Part):
    """One node of the graph.

    Attributes:
        id: unique name; ``image`` is taken.
        level: nominal log2 stride of the output.
        inputs: ordered edges from blocks that are listed earlier, or from ``image``.
        combine: how several inputs become one; ``weighted_sum`` learns one factor per input.
        fuse_activation: applied to the combined input, before the operation.
        repeats: how many copies follow each other; copies after the first keep width and size.
        rank: position for stochastic depth, 1 to n; None never drops the block.
    """

    id: Name
    level: Annotated[int, Field(ge=0, le=10)]
    op: Operation
    inputs: Annotated[tuple[Edge, ...], Field(min_length=1, max_length=64)]
    combine: Literal["sum", "concat", "weighted_sum"] = "sum"
    fuse_activation: Activation = "none"
    repeats: Annotated[int, Field(ge=1, le=16)] = 1
    rank: Annotated[int, Field(ge=1, le=999)] | None = None

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Ids of what it reads, one per input."""
        return tuple(edge.block for edge in self.inputs)

    @cached_property
    def reads(self) -> tuple[tuple[str, int], ...]:
        """Per input, the id and the output that is read; 1 is the expanded map."""
        return tuple((edge.block, edge.output) for edge in self.inputs)

    @cached_property
    def nameless(self) -> str:
        """All fields but names and rank, as one string: blocks may share what follows from it."""
        return self.model_dump_json(exclude={"id": True, "rank": True, "inputs": _NAMES})
