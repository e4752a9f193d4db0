"""The canonical key: one string per network, whatever its blocks are called and listed.

The description that is hashed says of every block what it is, and what each of its edges does with
which block, in the order of `nas.genome.canonical`; then input, neck, head and batch norm:

    [1, "[[LABEL, [[STEP, PLACE], …]], …]", ["INPUT", "NECK", "HEAD", "NORM"]]

There is a row for each block, and in it a step for each edge with its parent's place among the
rows, which is -1 for the picture. A label has the operation without its widths, the width under the
scale, level, combination, repeats, rank, and the taps that read the block. A step has how the edge
resamples, and the width inside. The rows and the four parts are JSON inside JSON's strings, since
stored keys have them so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.genome.blocks import IMAGE
from nas.genome.canonical import LabelledNode, Labelling
from nas.genome.memo import remembered
from nas.genome.shapes import ResolvedBlock

if TYPE_CHECKING:
    from nas.genome.genome import Genome


def key(genome: Genome) -> str:
    """Returns the sha256 of the canonical description, as 64 hex digits.

    Raises:
        GenomeError: when the genome isn't legal, or is too symmetric.
    """
    return hashlib.sha256(_canonical(genome)[1].encode()).hexdigest()


def canonical_order(genome: Genome) -> list[str]:
    """Returns block ids, parents first, in an order that is equal for genomes of equal key."""
    return _canonical(genome)[0]


def _canonical(genome: Genome) -> tuple[list[str], str]:
    """Returns the canonical order of block ids, and the description that is hashed."""
    blocks, resolved, taps, *_ = genome.layout
    names = list(blocks)
    index = {name: i for i, name in enumerate(names)}
    index[IMAGE] = -1
    # A tap is part of what its block is. Its position counts, for neck and head tell taps apart.
    tapped: dict[str, tuple[str, ...]] = {}
    for position, tap in enumerate(taps):
        transform = tap.transform.form if tap.transform else ""
        label = f"{position},{tap.point},{transform},{tap.training_only}"
        tapped[tap.block] = (*tapped.get(tap.block, ()), label)
    nodes = [
        _node(resolved[name], block.rank, tapped.get(name, ())) for name, block in blocks.items()
    ]
    parents = [[index[parent] for parent in block.parents] for block in blocks.values()]
    order, description = Labelling(nodes, parents).smallest()
    rest = [part.whole for part in (genome.input, genome.neck, genome.head, genome.norm)]
    return [names[i] for i in order], json.dumps([1, description, rest])


def _node(resolved: ResolvedBlock, rank: int | None, tapped: Sequence[str]) -> LabelledNode:
    """Returns a block as the labelling sees it: all it is but for its parents."""
    label, steps = _described(resolved)
    return LabelledNode(f"{label},{rank}|{[*tapped]}", steps)


@remembered
def _described(resolved: ResolvedBlock) -> tuple[str, tuple[str, ...]]:
    """Returns what a block is but for its rank and taps, and what each of its edges does."""
    block, combine = resolved.block, resolved.block.combine
    if combine == "concat" and len(block.inputs) == 1:
        combine = "sum"  # of one map both are the map itself
    label = (
        f"{block.op.form_on(resolved.ins[0].size, block.repeats)},{resolved.width},"
        f"{block.level},{combine},"
        f"{block.fuse_activation},{block.repeats}"
    )
    steps = []
    for position, edge in enumerate(block.inputs):
        # A sum doesn't know the order of its terms, maps beside each other have one.
        ordered = position if combine == "concat" else ""
        steps.append(f"{_resampling(resolved, position)},{edge.point},{ordered}")
    return label, tuple(steps)


def _resampling(resolved: ResolvedBlock, position: int) -> str:
    """Returns what an edge does to its parent's map."""
    part = resolved.block.inputs[position].resample
    if not part.changes:
        return part.type
    detail = part.detail(resolved.sources[position].shape.size, resolved.ins[position].size)
    return f"{part.form},{resolved.middles[position]},{detail}"
