"""The chain of blocks that a network begins with, as a classifier has it."""

from __future__ import annotations

from collections.abc import Iterator

from nas.genome import Genome
from nas.genome.blocks import IMAGE, Block, Edge
from nas.genome.plan import lower


def blocks_in_a_row(genome: Genome) -> Iterator[Block]:
    """Yields blocks while each reads nothing but the one before it, unchanged."""
    before = IMAGE
    for unit in lower(genome):
        block = unit.block
        if unit.kind != "block" or block is None:
            return
        if block.inputs != (Edge(block=before),):
            return
        yield block
        before = block.id
