"""The one drawing of a genome: level against order, as the SpineNet paper shows its networks.

Colour and shape tell a block's type, the colour of an edge how its map is resampled; P3 to P7 mark
the outputs. The same genome gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Outline

from nas.cost import profile
from nas.errors import GenomeError, RunError
from nas.genome import Genome
from nas.genome.blocks import IMAGE
from nas.genome.parts import OPERATIONS
from nas.report.drawing.placement import (
    RADIUS,
    WIDTH,
    Curve,
    Drawing,
    PlacedBlock,
    lay_out,
    least_width,
    sample,
)
from nas.report.drawing.style import STROKES, outline

HEADER, FOOTER, GAP = 66.0, 58.0, 6.0
LABELS = 100.0
"""Where rows begin, right of their labels."""
PNG_WIDTH = 1600
INK, FAINT, GRID, PAPER = "#1d2733", "#9aa5b1", "#eef1f4", "#ffffff"


_SETTINGS = {
    "svg.hashsalt": "spinenas",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
}


def svg(*genomes: Genome, num_classes: int = 91) -> str:
    """Draws one or more genomes, one below the other, as an SVG document."""
    figure = _figure(genomes, num_classes)
    buffer = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    # What is left names only other formats and their authors, by address.
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)


def png(*genomes: Genome, num_classes: int = 91, width: int = PNG_WIDTH) -> bytes:
    """Draws the same as a PNG of `width` pixels; a very long listing makes it wider."""
    figure = _figure(genomes, num_classes)
    figure.set_dpi(width / (WIDTH / 100))
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def write(stem: Path, *genomes: Genome, num_classes: int = 91) -> tuple[Path, Path]:
    """Writes `stem.svg` and `stem.png`, making the folder.

    Raises:
        RunError: They can't be written there.
    """
    paths = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(svg(*genomes, num_classes=num_classes), encoding="utf-8")
        paths[1].write_bytes(png(*genomes, num_classes=num_classes))
    except OSError as error:
        raise RunError(f"{stem}: the drawing can't be written ({error.strerror})") from None
    return paths


def _figure(genomes: Sequence[Genome], num_classes: int) -> Figure:
    widest = max(least_width(genome) for genome in genomes)
    layouts = [lay_out(genome, widest) for genome in genomes]
    height = sum(HEADER + layout.height + GAP for layout in layouts) + FOOTER
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(widest / 100, height / 100), dpi=100, facecolor=PAPER)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, widest)
        axes.set_ylim(0, height)
        top = height
        for number, (genome, layout) in enumerate(zip(genomes, layouts, strict=True)):
            bottom = top - HEADER - layout.height
            _title(axes, genome, layout, top, num_classes)
            _Panel(axes, layout, bottom, f"g{number}").paint()
            top = bottom - GAP
        _legend(axes, layouts, widest)
    return figure


def _title(axes: Axes, genome: Genome, layout: Drawing, top: float, num_classes: int) -> None:
    name = genome.name or f"genome {genome.key[:10]}"
    axes.text(24, top - 28, name, fontsize=15, weight="bold", color=INK, va="center")
    facts = []
    try:
        cost = profile(genome, num_classes=num_classes)
        facts.append(f"{cost.params / 1e6:.2f} M parameters")
        at = f"{genome.input.size} px, {num_classes} classes"
        facts.append(f"{cost.macs / 1e9:.2f} G multiply-adds at {at}")
    except GenomeError:  # a part that can be drawn but isn't counted yet
        facts.append(f"{genome.input.size} px")
    dead = layout.dead
    facts.append(f"{len(layout.nodes) - 1 - len(dead)} blocks")
    if dead:
        verb = "reaches no output and isn't" if len(dead) == 1 else "reach no output and aren't"
        facts.append(f"faded: {', '.join(dead)} {verb} built")
    axes.text(24, top - 52, "  ·  ".join(facts), fontsize=9.5, color="#4b5866", va="center")


class _Panel:
    """Paints one genome above a height of the figure."""

    def __init__(self, axes: Axes, layout: Drawing, bottom: float, prefix: str) -> None:
        self.axes, self.layout, self.bottom, self.prefix = axes, layout, bottom, prefix
        self.nodes = {node.id: node for node in layout.nodes}

    def paint(self) -> None:
        """Paints rows, then edges, then blocks over them."""
        for row in self.layout.rows:
            self._row(row.level, row.y + self.bottom, row.size)
        for node in self.layout.nodes:
            if node.output:
                self._output(node)
        # Long edges lie below short ones, faded ones below all.
        for curve in sorted(
            self.layout.curves, key=lambda c: (c.alive, -float(c.points[3, 0] - c.points[0, 0]))
        ):
            self._curve(curve)
        for node in self.layout.nodes:
            self._node(node)

    def _row(self, level: int, y: float, size: int) -> None:
        end = self.layout.width - 24
        self.axes.plot(
            [LABELS, end], [y, y], color=GRID, linewidth=7, zorder=0, solid_capstyle="round"
        )
        self.axes.text(24, y + 7, f"level {level}", fontsize=9, color=INK, va="center")
        self.axes.text(24, y - 8, f"{size} × {size}", fontsize=7.5, color="#6b7785", va="center")

    def _output(self, node: PlacedBlock) -> None:
        y, x = node.y + self.bottom, self.layout.width - 46
        self.axes.plot(
            [node.x, x - 18], [y, y], color=INK, linewidth=1.1, zorder=1, linestyle=(0, (1, 2))
        )
        tag = FancyBboxPatch(
            (x - 15, y - 10),
            34,
            20,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=INK,
            edgecolor="none",
            zorder=6,
        )
        self.axes.add_patch(tag)
        self.axes.text(
            x + 2,
            y - 0.5,
            node.output,
            fontsize=9.5,
            color="white",
            weight="bold",
            ha="center",
            va="center",
            zorder=7,
        )

    def _curve(self, curve: Curve) -> None:
        points = curve.points + np.array([0.0, self.bottom])
        stroke = STROKES[curve.kind]
        colour = stroke.colour if curve.alive else "#d5dae0"
        path = Outline(points, [Outline.MOVETO, *[Outline.CURVE4] * 3])
        name = f"{self.prefix}-edge-{curve.parent}-{curve.child}"
        for width, paint, style, gid in (
            (4.2, PAPER, "solid", None),
            (1.6 if curve.alive else 1.0, colour, stroke.dash, name),
        ):
            patch = PathPatch(
                path,
                facecolor="none",
                edgecolor=paint,
                linewidth=width,
                linestyle=style,
                capstyle="butt",
                zorder=2,
            )
            patch.set_gid(gid)
            self.axes.add_patch(patch)
        self._arrow(points, colour, self.nodes[curve.child])

    def _arrow(self, points: np.ndarray, colour: str, child: PlacedBlock) -> None:
        """Draws a small head where the curve meets the block."""
        dense = sample(points, 200)
        gaps = np.linalg.norm(dense - points[3], axis=1)
        reach = RADIUS + 1 if child.style.outline != "diamond" else RADIUS
        tip = dense[np.flatnonzero(gaps > reach)[-1]]
        back = dense[np.flatnonzero(gaps > reach + 7)[-1]]
        along = (tip - back) / max(float(np.linalg.norm(tip - back)), 1e-9)
        across = np.array([-along[1], along[0]])
        head = np.array([tip, tip - 7.5 * along + 3.4 * across, tip - 7.5 * along - 3.4 * across])
        self.axes.add_patch(
            Polygon(head, closed=True, facecolor=colour, edgecolor="none", zorder=3)
        )

    def _node(self, node: PlacedBlock) -> None:
        look, y = node.style, node.y + self.bottom
        patch = outline(look.outline, node.x, y)
        patch.set(
            facecolor=look.fill if node.alive else PAPER,
            edgecolor=(INK if node.output else look.line) if node.alive else FAINT,
            linewidth=2.4 if node.output else 1.3,
            linestyle="solid" if node.alive else (0, (2, 1.6)),
            zorder=4,
        )
        patch.set_gid(f"{self.prefix}-block-{node.id}")
        self.axes.add_patch(patch)
        size = (
            9.5
            if len(node.id) <= 2
            else 8.0
            if len(node.id) <= 4
            else max(5.5, 34.0 / len(node.id))
        )
        self.axes.text(
            node.x,
            y - 0.5,
            "" if node.id == IMAGE else node.id,
            fontsize=size,
            color=INK if node.alive else FAINT,
            ha="center",
            va="center",
            zorder=5,
        )
        if node.id == IMAGE:
            self._picture(node.x, y)
        if node.repeats > 1:
            self.axes.text(
                node.x + RADIUS - 1,
                y + RADIUS + 1,
                f"×{node.repeats}",
                fontsize=7,
                color=INK,
                ha="center",
                va="center",
                zorder=8,
                bbox={
                    "boxstyle": "round,pad=0.15",
                    "facecolor": "#fff3b0",
                    "edgecolor": "#b59b2b",
                    "linewidth": 0.6,
                },
            )

    def _picture(self, x: float, y: float) -> None:
        """Hills and a sun."""
        hills = np.array([[-13, -9], [-5, 3], [0, -4], [5, 1], [13, -9]]) + np.array([x, y])
        self.axes.add_patch(
            Polygon(hills, closed=True, facecolor="#9aa5b1", edgecolor="none", zorder=5)
        )
        self.axes.add_patch(
            Circle((x + 6, y + 6), 2.6, facecolor="#e0a93b", edgecolor="none", zorder=5)
        )


def _legend(axes: Axes, layouts: Sequence[Drawing], width: float) -> None:
    """Draws a line for the types of blocks and one for the kinds of edges that occur."""
    nodes = [node for layout in layouts for node in layout.nodes if node.alive]
    styles = {node.type: node.style for node in nodes if node.id != IMAGE}
    kinds = {curve.kind for layout in layouts for curve in layout.curves if curve.alive}
    readers = dict.fromkeys(layout.reader for layout in layouts)
    axes.plot([24, width - 24], [FOOTER - 4] * 2, color="#dfe4e9", linewidth=0.8)
    x = 32.0
    for kind in OPERATIONS:
        look = styles.get(kind)
        if look is not None:
            patch = outline(look.outline, 0, 0)
            patch.set(facecolor=look.fill, edgecolor=look.line, linewidth=1.1)
            move = matplotlib.transforms.Affine2D().scale(0.5).translate(x, FOOTER - 21)
            patch.set_transform(move + axes.transData)
            axes.add_patch(patch)
            x = _caption(axes, x + 15, FOOTER - 21.5, look.name)
    patch = outline("square", 0, 0)
    patch.set(facecolor=PAPER, edgecolor=INK, linewidth=2.0)
    move = matplotlib.transforms.Affine2D().scale(0.5).translate(x, FOOTER - 21)
    patch.set_transform(move + axes.transData)
    axes.add_patch(patch)
    _caption(axes, x + 15, FOOTER - 21.5, f"output, read by {' or '.join(readers)}")
    x = 24.0
    for name, stroke in STROKES.items():
        if name in kinds:
            axes.plot(
                [x, x + 26],
                [FOOTER - 42] * 2,
                color=stroke.colour,
                linewidth=1.8,
                linestyle=stroke.dash,
            )
            x = _caption(axes, x + 33, FOOTER - 42.5, stroke.name)


def _caption(axes: Axes, x: float, y: float, text: str) -> float:
    """Writes a word of the legend; returns where the next one begins."""
    axes.text(x, y, text, fontsize=8.5, color="#3c4855", va="center")
    return x + 6.1 * len(text) + 30
