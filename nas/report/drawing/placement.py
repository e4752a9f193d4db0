"""Where everything in the drawing of a genome lies: blocks, edges and outputs, in picture units.

Nothing here knows how it is painted. One unit is one pixel of a drawing 1200 wide; x grows to the
right with the order of the blocks, y upwards with their level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.genome import Genome
from nas.genome.blocks import IMAGE
from nas.genome.parts import Style

EdgeKind = Literal["up", "down", "same", "merge", "direct"]
Points = NDArray[np.float64]

WIDTH = 1200.0
ROW = 86.0
RADIUS = 17.0
LEFT, RIGHT = 128.0, 88.0
PICTURE = Style("picture", "picture", "#f3f4f6", "#6b7280")
NARROWEST = 40.0
"""Least distance of two blocks in x; a longer listing makes the drawing wider."""


@dataclass(frozen=True)
class PlacedBlock:
    """One block, or the picture.

    Attributes:
        type: Type of the block's operation, or `image`.
        x: Centre of the block.
        y: Likewise.
        alive: Whether an output can be reached from it.
        output: The tag of the output that it is, such as `P3`; empty for the others.
        style: How it is painted.
    """

    id: str
    type: str
    level: int
    x: float
    y: float
    repeats: int = 1
    alive: bool = True
    output: str = ""
    style: Style = PICTURE


@dataclass(frozen=True)
class Curve:
    """One edge as a cubic Bézier curve from the parent's centre to the child's.

    Attributes:
        points: `(4, 2)` control points.
    """

    parent: str
    child: str
    kind: EdgeKind
    points: Points
    alive: bool = True


@dataclass(frozen=True)
class LevelLine:
    """One level: its height in the drawing and the side of its maps in pixels."""

    level: int
    y: float
    size: int


@dataclass(frozen=True)
class Drawing:
    """A genome, laid out; y = 0 is the lowest edge.

    Attributes:
        nodes: The picture and all listed blocks.
        curves: The edges.
        rows: The levels.
        width: Width of the whole in picture units.
        height: Height, likewise.
        reader: What reads the outputs, in words.
    """

    nodes: tuple[PlacedBlock, ...]
    curves: tuple[Curve, ...]
    rows: tuple[LevelLine, ...]
    width: float
    height: float
    reader: str

    @property
    def dead(self) -> tuple[str, ...]:
        """Ids of listed blocks that reach no output."""
        return tuple(node.id for node in self.nodes if not node.alive)


def least_width(genome: Genome) -> float:
    """Returns the width that a genome's drawing needs."""
    return max(WIDTH, LEFT + RIGHT + NARROWEST * len(genome.blocks))


def lay_out(genome: Genome, width: float = WIDTH) -> Drawing:
    """Places a genome's blocks in the listing's order and routes its edges around them.

    Args:
        genome: The architecture.
        width: Least width; the drawing of a long listing is wider.
    """
    view = genome.graph()
    levels = sorted({block.level for block in genome.blocks})
    heights = {level: ROW * (index + 0.5) for index, level in enumerate(levels)}
    width = max(width, least_width(genome))
    xs = np.linspace(LEFT, width - RIGHT, len(genome.blocks) + 1)
    tags = {block: f"P{view.nodes[block]['level']}" for block in view if view.nodes[block]["tap"]}
    # The picture has no level of its own in the network: it stands beside the stem.
    first = genome.blocks[0].level
    nodes = [PlacedBlock(IMAGE, IMAGE, first, float(xs[0]), heights[first])]
    for x, block in zip(xs[1:], genome.blocks, strict=True):
        nodes.append(
            PlacedBlock(
                block.id,
                block.op.type,
                block.level,
                float(x),
                heights[block.level],
                block.repeats,
                block.id in view,
                tags.get(block.id, ""),
                block.op.style,
            )
        )
    side = genome.input.size
    sizes = {view.nodes[name]["level"]: view.nodes[name]["size"] for name in view}
    rows = [
        LevelLine(level, heights[level], sizes.get(level, -(-side // 2**level))) for level in levels
    ]
    curves = _route(nodes, _edges(genome, view))
    reader = genome.neck.reader
    height = ROW * len(levels)
    return Drawing(tuple(nodes), tuple(curves), tuple(rows), width, height, reader)


def _edges(genome: Genome, view: Any) -> list[tuple[str, str, EdgeKind, bool]]:
    """Lists (parent, child, kind, alive) of all edges; those of dead blocks as they are listed."""
    edges: list[tuple[str, str, EdgeKind, bool]] = []
    for parent, child, data in view.edges(data=True):
        edges.append((parent, child, _kind(view, child, data["resampling"]), True))
    listed = {block.id: block for block in genome.blocks}
    for block in genome.blocks:
        if block.id not in view:
            for name in dict.fromkeys(edge.block for edge in block.inputs):
                step = block.level - listed[name].level if name in listed else 0
                edges.append(
                    (name, block.id, "up" if step < 0 else "down" if step else "same", False)
                )
    return edges


def _kind(view: Any, child: str, resampling: str) -> EdgeKind:
    if resampling.startswith("up"):
        return "up"
    if resampling.startswith("down"):
        return "down"
    if resampling == "same":
        return "same"
    others = {data["resampling"] for _, _, data in view.in_edges(child, data=True)}
    return "merge" if others != {"direct"} else "direct"


def _route(nodes: list[PlacedBlock], edges: list[tuple[str, str, EdgeKind, bool]]) -> list[Curve]:
    """Chooses for each edge, short ones first, the curve that best keeps clear of the rest."""
    places = {node.id: np.array([node.x, node.y]) for node in nodes}
    order = {node.id: index for index, node in enumerate(nodes)}
    ground = _Ground(np.array(list(places.values())))
    curves = []
    for parent, child, kind, alive in sorted(
        edges, key=lambda e: (order[e[1]] - order[e[0]], order[e[1]], order[e[0]])
    ):
        options = _candidates(places[parent], places[child])
        best = options[int(np.argmin(ground.costs(options).round(6)))]
        ground.draw(best)
        curves.append(Curve(parent, child, kind, best, alive))
    return curves


def _candidates(start: Points, end: Points) -> Points:
    """Returns curves `(N, 4, 2)`, the direct one first, then those that lean and bulge more."""
    dx, dy = end - start
    options = []
    for bulge in (0.0, 28.0, -28.0, 50.0, -50.0, 74.0, -74.0, 100.0, -100.0):
        for reach in (0.42, 0.25, 0.6):
            for lean in (0.2, 0.5, 0.0):
                for late in (bulge, 0.0) if bulge else (0.0,):
                    first = start + np.array([reach * dx, lean * dy + bulge])
                    options.append(
                        [start, first, end - np.array([reach * dx, lean * dy - late]), end]
                    )
    return np.array(options)


class _Ground:
    """A raster of what a new edge should keep clear of: blocks, and edges drawn before."""

    CELL = 4.0
    EDGE = 100.0

    def __init__(self, places: Points) -> None:
        self.places = places
        columns, rows = ((places.max(axis=0) + 2 * self.EDGE) / self.CELL).astype(int)
        x, y = np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij")
        self.cells = np.stack([x, y], axis=-1) * self.CELL - self.EDGE
        self.blocks = sum(
            (self._near_block(self.cells, place) for place in places), np.zeros(x.shape)
        )
        self.lines = np.zeros(x.shape)

    def _near_block(self, points: Points, place: Points) -> Points:
        gaps = np.linalg.norm(points - place, axis=-1)
        return np.clip(1 - gaps / (RADIUS + 11), 0, None)

    def _index(self, points: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        index = np.rint((points + self.EDGE) / self.CELL).astype(np.int64)
        index = np.clip(index, 0, np.array(self.lines.shape) - 1)
        return index[..., 0], index[..., 1]

    def costs(self, options: Points) -> Points:
        """Returns the costs `(N,)` of curves `(N, 4, 2)`."""
        curves = sample(options)
        steps = np.linalg.norm(np.diff(curves, axis=1), axis=2).sum(axis=1)
        start, end = options[0][0], options[0][3]
        # Detours cost little, blocks in the way much, and company of other edges something.
        cost = 0.02 * (steps - np.linalg.norm(end - start))
        touched = self.blocks[self._index(curves)]
        # An edge may touch its own ends; read off the same raster, so that nothing is left over.
        cells = np.rint(curves / self.CELL) * self.CELL
        touched = touched - self._near_block(cells, start) - self._near_block(cells, end)
        cost += 4.0 * np.clip(touched, 0, None).sum(axis=1)
        along: Points = cost + 0.22 * self.lines[self._index(curves[:, 4:-4])].sum(axis=1)
        return along

    def draw(self, points: Points) -> None:
        """Raises the cost of the cells along a curve, so that later edges avoid it."""
        # A cone of two cells around each point; where cones overlap, the higher one counts.
        x, y = self._index(sample(points, 200))
        width, height = self.lines.shape
        for dx in (-2, -1, 0, 1, 2):
            for dy in (-2, -1, 0, 1, 2):
                at = np.clip(x + dx, 0, width - 1), np.clip(y + dy, 0, height - 1)
                self.lines[at] = np.maximum(self.lines[at], max(0.0, 1 - np.hypot(dx, dy) / 2.5))


def sample(points: Points, count: int = 33) -> Points:
    """Returns points `(..., count, 2)` along cubic Bézier curves `(..., 4, 2)`, ends included."""
    t = np.linspace(0, 1, count)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    curve: Points = weights @ points
    return curve
