"""Precision–recall curves as PNG: the mean over classes, and each class at IoU 0.5."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas.evaluation.ap import RECALLS
from nas.evaluation.precision_recall import Curves
from nas.report.search_curves import plain

NAMED = 10
"""Classes with a colour and a name; of more, the worst and the best have them."""
COLOURS = {0.5: "#2b5c94", 0.75: "#c2701c"}
_GREY = "#c6ced6"
_SETTINGS = {"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10}


def precision_recall_png(curves: Curves) -> bytes:
    """Draws two panels, 1200 × 520 pixels; a class without boxes has no line."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(12, 5.2), dpi=100, facecolor="white", layout="constrained")
        left, right = figure.subplots(1, 2)
        _means(left, curves)
        _classes(right, curves)
        for axes in (left, right):
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _means(axes: Axes, curves: Curves) -> None:
    plain(axes, "mean over classes", "recall", "precision")
    if curves.per_class:
        for iou, precision in curves.means.items():
            label = f"IoU {iou:.2f}: AP {precision.mean():.3f}"
            axes.plot(RECALLS, precision, color=COLOURS[iou], linewidth=2.2, label=label)
        axes.legend(frameon=False)


def _classes(axes: Axes, curves: Curves) -> None:
    plain(axes, "classes at IoU 0.50", "recall", "precision")
    ordered = sorted(curves.per_class.items(), key=lambda item: -item[1].mean())
    few = len(ordered) <= NAMED
    chosen = ordered if few else [*ordered[: NAMED // 2], *ordered[-NAMED // 2 :]]
    for _, precision in () if few else ordered[NAMED // 2 : -NAMED // 2]:
        axes.plot(RECALLS, precision, color=_GREY, linewidth=0.8)
    colours = matplotlib.color_sequences["tab10"]
    for (name, precision), colour in zip(chosen, colours, strict=False):
        # Matplotlib would read a name with dollars as a formula.
        label = f"{precision.mean():.3f}  {name[:24]}".replace("$", r"\$")
        axes.plot(RECALLS, precision, color=colour, linewidth=1.6, label=label)
    if chosen:
        title = "AP50" if few else f"AP50, best and worst of {len(ordered)}"
        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        axes.legend(frameon=False, title=title, fontsize=8, **beside)
