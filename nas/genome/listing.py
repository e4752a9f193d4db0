"""The listing of a genome's blocks, resolved: truncated, and without what no tap reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, Block, Tap

if TYPE_CHECKING:
    from nas.genome.genome import Genome


def resolve(genome: Genome) -> tuple[dict[str, Block], tuple[Tap, ...]]:
    """Applies the truncation and drops every block that no tap can be reached from.

    Returns:
        Blocks by id in the listing's order, and the taps, all reading blocks that exist.
    """
    blocks, taps = _listed(genome), genome.taps
    if genome.truncation is not None:
        blocks, taps = _truncated(genome, blocks)
    for tap in taps:
        if tap.block not in blocks:
            raise GenomeError(f"tap reads {tap.block!r}, which isn't a block; {_legal(blocks)}")
    needed = reached(blocks, taps)
    return {name: block for name, block in blocks.items() if name in needed}, taps


def reached(blocks: dict[str, Block], taps: Iterable[Tap]) -> set[str]:
    """Returns the ids of the blocks that the taps read, directly or through others."""
    # Backwards through the listing whoever reads a block comes before it: one pass is enough.
    ids = {tap.block for tap in taps}
    for name, block in reversed(blocks.items()):
        if name in ids:
            ids.update(block.parents)
    return ids


def _listed(genome: Genome) -> dict[str, Block]:
    """Returns all blocks by id, each after what it reads.

    Raises:
        GenomeError: for an id that is taken, or a parent that isn't listed before.
    """
    blocks: dict[str, Block] = {}
    for block in genome.blocks:
        name = block.id
        if name in blocks or name == IMAGE:
            raise GenomeError(f"block {name!r}: the id is taken; give each block its own")
        for parent in block.parents:
            if parent not in blocks and parent != IMAGE:
                raise GenomeError(
                    f"block {name!r} reads {parent!r}, which isn't listed before it; "
                    f"{_legal(blocks)}"
                )
        blocks[name] = block
    return blocks


def _legal(blocks: dict[str, Block]) -> str:
    names = list(blocks)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"legal: {shown}" if names else f"legal: {IMAGE}"


def _truncated(
    genome: Genome, blocks: dict[str, Block]
) -> tuple[dict[str, Block], tuple[Tap, ...]]:
    """Removes the blocks of the truncation; whoever read one reads the block before them.

    Raises:
        GenomeError: for ends that aren't blocks in this order, or a reader of an inner map.
    """
    cut = genome.truncation
    assert cut is not None
    names = list(blocks)
    for end in (cut.after, cut.through):
        if end not in blocks:
            raise GenomeError(f"truncation names {end!r}, which isn't a block; {_legal(blocks)}")
    first, last = names.index(cut.after), names.index(cut.through)
    if last <= first:
        raise GenomeError(f"truncation: {cut.through!r} isn't listed after {cut.after!r}")
    removed = set(names[first + 1 : last + 1])

    def moved(name: str, point: str, what: str) -> str:
        if name in removed and point != "out":
            raise GenomeError(f"{what} reads a point inside {name!r}, which truncation removes")
        return cut.after if name in removed else name

    kept: dict[str, Block] = {}
    for name, block in blocks.items():
        if name not in removed:
            edges = tuple(
                edge.replace(block=moved(edge.block, edge.point, f"block {name!r}"))
                for edge in block.inputs
            )
            kept[name] = block.replace(inputs=edges)
    taps = tuple(tap.replace(block=moved(tap.block, tap.point, "tap")) for tap in genome.taps)
    return kept, taps
