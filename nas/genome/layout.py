"""Where a genome's maps are: its resolved listing with the shape of every map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE, Block, Edge, Tap
from nas.genome.listing import reached, resolve
from nas.genome.maps import Map, Shape
from nas.genome.parts import OPERATIONS
from nas.genome.shapes import ResolvedBlock, resolve_block

if TYPE_CHECKING:
    from nas.genome.genome import Genome


class Layout(NamedTuple):
    """A genome's resolved listing, with the shapes of all maps.

    Attributes:
        blocks: those that a tap reads, directly or through others, by id in the listing's order.
        resolved: each of them among its neighbours.
        taps: as resolved.
        tapped: per tap, the map that it reads.
        collected: per tap, the map that the neck reads.
        offered: the maps that the head reads.
    """

    blocks: dict[str, Block]
    resolved: dict[str, ResolvedBlock]
    taps: tuple[Tap, ...]
    tapped: tuple[Shape, ...]
    collected: tuple[Shape, ...]
    offered: tuple[Shape, ...]

    @property
    def training_only(self) -> tuple[int, ...]:
        """Returns the positions of the taps for training alone."""
        return tuple([i for i, tap in enumerate(self.taps) if tap.training_only])


def make_layout(genome: Genome) -> Layout:
    """Infers every shape of a genome; `genome.layout` remembers it.

    Raises:
        GenomeError: when the genome isn't legal.
    """
    blocks, taps = resolve(genome)
    scale, side = genome.scale, genome.input.size
    # The listing has parents first, so one pass knows the maps of whatever a block reads.
    maps: dict[str, tuple[Map, ...]] = {IMAGE: (Map(Shape(3, side, 0), 3.0),)}
    resolved: dict[str, ResolvedBlock] = {}
    for name, block in blocks.items():
        try:
            sources = tuple([maps[parent][output] for parent, output in block.reads])
        except IndexError:
            raise _no_such_map(blocks, maps, block.inputs, f"block {name!r}") from None
        resolved[name] = resolve_block(block, sources, scale, side)
        maps[name] = resolved[name].outs
    try:
        tapped = tuple([maps[tap.block][tap.output].shape for tap in taps])
    except IndexError:
        raise _no_such_map(blocks, maps, taps, "tap") from None
    # From taps through the neck to the head, each of which refuses what it can't read.
    collected = tuple([_transformed(i, tap, tapped[i]) for i, tap in enumerate(taps)])
    offered = genome.neck.shapes(collected)
    training_only = [tap.training_only for tap in taps]
    genome.neck.check_taps(training_only)
    genome.head.check(offered, [i for i, only in enumerate(training_only) if only])
    return Layout(blocks, resolved, taps, tapped, collected, offered)


def shipped_blocks(layout: Layout) -> dict[str, ResolvedBlock]:
    """Returns the blocks of what is shipped, among their neighbours, by id."""
    if not layout.training_only:
        return layout.resolved
    shipped = reached(layout.blocks, (tap for tap in layout.taps if not tap.training_only))
    return {name: block for name, block in layout.resolved.items() if name in shipped}


def _no_such_map(
    blocks: Mapping[str, Block],
    maps: Mapping[str, tuple[Map, ...]],
    reads: Sequence[Edge | Tap],
    reader: str,
) -> GenomeError:
    name = next(r.block for r in reads if r.output >= len(maps[r.block]))
    kind = blocks[name].op.type if name in blocks else IMAGE
    return GenomeError(
        f"{reader} reads point 'expand' of {name!r} ({kind}); "
        f"only an {' or '.join(OPERATIONS.having('expands'))} has one, others have 'out'"
    )


def _transformed(index: int, tap: Tap, shape: Shape) -> Shape:
    if tap.transform is None:
        return shape
    return tap.transform.shape(f"tap {index}", tap.block, shape)
