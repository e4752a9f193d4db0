"""Curves of a search as PNG: the best so far of each arm, and how far rewards spread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas.report.arms import scores_of
from nas.report.formatting import ARMS
from nas.study.finalists import Finalist
from nas.study.objective import ObjectiveSettings
from nas.study.trial import Arm, Record

COLOURS: dict[Arm, str] = {"controller": "#2b5c94", "control": "#c2701c"}
INK, SOFT = "#1d2733", "#6b7785"
_SETTINGS = {"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10}


def curves(
    records: Sequence[Record],
    objective: ObjectiveSettings,
    finalists: Sequence[Finalist] = (),
) -> bytes:
    """Draws two panels, 1200 × 480 pixels: best so far, and all trials beside re-evaluations."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(12, 4.8), dpi=100, facecolor="white", layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _best_so_far(left, records, objective)
        _spread(right, records, finalists, objective)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def write(
    path: Path,
    records: Sequence[Record],
    objective: ObjectiveSettings,
    finalists: Sequence[Finalist] = (),
) -> Path:
    """Writes the curves as a PNG file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(curves(records, objective, finalists))
    return path


def _best_so_far(axes: Axes, records: Sequence[Record], objective: ObjectiveSettings) -> None:
    plain(axes, "best so far", "trials of the arm", objective.score_name)
    for arm, colour in COLOURS.items():
        rewards = scores_of(records, arm, objective)
        if not rewards:
            continue
        trials, best = np.arange(1, len(rewards) + 1), np.maximum.accumulate(rewards)
        axes.scatter(trials, rewards, s=14, color=colour, alpha=0.35, linewidths=0)
        axes.step(trials, best, where="post", color=colour, linewidth=2.2)
        axes.annotate(
            f"{ARMS[arm]}  {best[-1]:.3f}",
            (trials[-1], best[-1]),
            (6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            weight="bold",
        )
    axes.margins(x=0.02, y=0.08)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.24 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _spread(
    axes: Axes,
    records: Sequence[Record],
    finalists: Sequence[Finalist],
    objective: ObjectiveSettings,
) -> None:
    plain(axes, "spread over architectures and over seeds", "", objective.score_name)
    ticks: list[tuple[float, str]] = []
    place = 0.0
    for arm, colour in COLOURS.items():
        rewards = scores_of(records, arm, objective)
        if rewards:
            # A fixed zigzag keeps equal rewards apart without chance.
            shift = (np.arange(len(rewards)) % 7 - 3) * 0.06
            axes.scatter(place + shift, rewards, s=20, color=colour, alpha=0.6, linewidths=0)
            ticks.append((place, f"{ARMS[arm]}\n{len(rewards)} trials"))
            place += 1.6
    for finalist in finalists[:6]:
        colour, rewards = COLOURS[finalist.record.arm], list(finalist.rewards)
        axes.plot([place] * 2, [min(rewards), max(rewards)], color=colour, linewidth=1.2)
        axes.scatter([place] * len(rewards), rewards, s=20, color=colour, linewidths=0)
        axes.plot([place - 0.2, place + 0.2], [finalist.mean] * 2, color=INK, linewidth=2)
        ticks.append((place, str(finalist.record.number)))
        place += 0.8
    axes.set_xticks([tick for tick, _ in ticks], [text for _, text in ticks])
    axes.set_xlim(-0.8, max(place - 0.2, 0.8))
    if finalists:
        axes.set_xlabel("numbers: trials looked at again, a point a seed, bar = mean", color=SOFT)


def plain(axes: Axes, title: str, x: str, y: str) -> None:
    """Titles axes and takes away what isn't needed to read them."""
    axes.set_title(title, loc="left", color=INK, weight="bold")
    axes.set_xlabel(x, color=SOFT)
    axes.set_ylabel(y, color=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c6ced6")
    axes.tick_params(colors=SOFT)
    axes.grid(axis="y", color="#eef1f4")
    axes.set_axisbelow(True)
