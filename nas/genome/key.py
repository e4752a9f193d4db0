"""The canonical key: one string per network, whatever its blocks are called and listed.

The description that is hashed says of every block what it is, and what each of its edges does with
which block, in the order of `nas.genome.canonical`; then input, neck, head and batch norm. It is a
string of JSON inside JSON, as stored keys have it, and put together from pieces that genomes share:
a key takes a fifth of a millisecond.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nas.genome.blocks import IMAGE
from nas.genome.canonical import Labelling, Node, quoted
from nas.genome.memo import remembered
from nas.genome.shapes import ResolvedBlock

if TYPE_CHECKING:
    from nas.genome.genome import Genome


def key(genome: Genome) -> str:
    """sha256 of the canonical description, as 64 hex digits.

    Raises:
        GenomeError: when the genome isn't legal, or is too symmetric.
    """
    return hashlib.sha256(_canonical(genome)[1].encode()).hexdigest()


def canonical_order(genome: Genome) -> list[str]:
    """Block ids so that parents come first, equal for genomes of equal key up to the ids."""
    return _canonical(genome)[0]


def _canonical(genome: Genome) -> tuple[list[str], str]:
    blocks, resolved, taps, *_ = genome.layout
    names = list(blocks)
    index = {name: i for i, name in enumerate(names)}
    index[IMAGE] = -1
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
    return [names[i] for i in order], f'[1, "{description}", [{", ".join(rest)}]]'


@remembered
def _node(resolved: ResolvedBlock, rank: int | None, tapped: tuple[str, ...]) -> Node:
    label, steps, edges = _described(resolved)
    label = f"{label},{rank}|{[*tapped]}"
    template = quoted(f"[{_filled_later(label)}, [") + edges
    return Node(label, steps, template, _arranging(steps))


@remembered
def _described(resolved: ResolvedBlock) -> tuple[str, tuple[str, ...], str]:
    """What a block is but for its rank and taps, what each edge does, and a template of these."""
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
    edges = ", ".join(f"[{_filled_later(step)}, %d]" for step in sorted(steps))
    return label, tuple(steps), quoted(f"{edges}]]")


@remembered
def _arranging(steps: tuple[str, ...]) -> Callable[[list[int]], Any]:
    """What sorts the places of parents by the edges' steps, then by place."""
    if len(set(steps)) == len(steps):
        return operator.itemgetter(*sorted(range(len(steps)), key=steps.__getitem__))
    if len(set(steps)) == 1:
        return lambda places: tuple(sorted(places))
    return lambda places: tuple([at for _, at in sorted(zip(steps, places, strict=True))])


def _filled_later(text: str) -> str:
    """JSON of a text that stays as it is when places are filled in."""
    return json.dumps(text).replace("%", "%%")


def _resampling(resolved: ResolvedBlock, position: int) -> str:
    part = resolved.block.inputs[position].resample
    if not part.changes:
        return part.type
    detail = part.detail(resolved.sources[position].shape.size, resolved.ins[position].size)
    return f"{part.form},{resolved.middles[position]},{detail}"
