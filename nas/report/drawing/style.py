"""How edges are painted, and the outlines of blocks; a block's own style is its operation's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.patches import Circle, FancyBboxPatch, Patch, Polygon

from nas.report.drawing.placement import RADIUS, EdgeKind


class Stroke(NamedTuple):
    """How a kind of edge is painted."""

    name: str
    colour: str
    dash: str | tuple[float, tuple[float, ...]] = "solid"


STROKES: dict[EdgeKind, Stroke] = {
    "down": Stroke("scaled down, to a coarser level", "#7048b8"),
    "up": Stroke("scaled up, to a finer level", "#12886a"),
    "same": Stroke("same size", "#5b6876"),
    "merge": Stroke("unread block, added as it is", "#d0256b", (0, (4.0, 2.2))),
    "direct": Stroke("read as it is", "#8a94a0"),
}


def outline(shape: str, x: float, y: float) -> Patch:
    """Returns the outline of a block at a place of the drawing."""
    r = RADIUS
    if shape == "diamond":
        r += 3
        return Polygon(np.array([[x - r, y], [x, y + r], [x + r, y], [x, y - r]]), closed=True)
    if shape == "circle":
        return Circle((x, y), r)
    if shape == "trapezium":
        corners = [[x - 13, y - 15], [x - 13, y + 15], [x + 13, y + 9], [x + 13, y - 9]]
        return Polygon(np.array(corners), closed=True)
    if shape == "hexagon":
        turns = np.arange(6) * np.pi / 3
        return Polygon(
            np.stack([x + r * np.cos(turns), y + r * np.sin(turns)], axis=1), closed=True
        )
    wide, high = {"square": (15.5, 15.5), "small": (15.0, 12.0), "picture": (16.0, 12.5)}[shape]
    style = f"round,pad=0,rounding_size={1.5 if shape == 'picture' else 5}"
    return FancyBboxPatch((x - wide, y - high), 2 * wide, 2 * high, boxstyle=style)
