"""COCO's numbers as tables on the screen."""

from __future__ import annotations

import math

from rich.table import Table

from nas.errors import printable
from nas.evaluation.metrics import COMMON, Metrics

_ROWS = (
    ("AP", "ap", "mean over IoU 0.50 to 0.95"),
    ("AP50", "ap50", "boxes count from IoU 0.50 on"),
    ("AP75", "ap75", "boxes count from IoU 0.75 on"),
    ("AP small", "ap_small", "objects under 32² pixels"),
    ("AP medium", "ap_medium", "objects of 32² to 96² pixels"),
    ("AP large", "ap_large", "objects over 96² pixels"),
    ("AP common", "ap_common", "classes with at least ten boxes"),
    ("AR 1", "ar1", "recall with 1 detection an image and class"),
    ("AR 10", "ar10", "recall with 10 detections"),
    ("AR 100", "ar100", "recall with 100 detections"),
    ("AR small", "ar_small", "of objects under 32² pixels"),
    ("AR medium", "ar_medium", "of objects of 32² to 96² pixels"),
    ("AR large", "ar_large", "of objects over 96² pixels"),
)
_MOST = 24
_WORST, _BEST = 10, 5
"""Rows of the classes' table: all of `_MOST`, and of more only these."""


def numbers_table(metrics: Metrics, title: str) -> Table:
    """Tabulates COCO's twelve numbers and AP common with their meanings; a dash for what is NaN."""
    table = Table(title=title, title_justify="left")
    table.add_column("number")
    table.add_column("value", justify="right")
    table.add_column("what it is", style="dim")
    for name, field, meaning in _ROWS:
        table.add_row(name, _shown(getattr(metrics, field)), meaning)
    return table


def classes_table(metrics: Metrics) -> Table:
    """Tabulates the classes that have boxes, the worst first; of many only the ends."""
    judged = [(name, own) for name, own in metrics.per_class.items() if own.boxes]
    judged.sort(key=lambda item: item[1].ap)
    without, many = len(metrics.per_class) - len(judged), len(judged) > _MOST
    title = "classes, the worst first" + (f"; {without} have no box" if without else "")
    caption = f"of {len(judged)}; --out DIR writes all" if many else None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("class")
    for name in ("boxes", "AP", "AP50"):
        table.add_column(name, justify="right")
    if any(own.boxes < COMMON for _, own in judged):
        table.add_column("", style="dim")
    for place, (name, own) in enumerate(judged):
        if many and _WORST <= place < len(judged) - _BEST:
            if place == _WORST:
                table.add_row("…")
            continue
        remark = [f"fewer than {COMMON} boxes"] if own.boxes < COMMON else []
        table.add_row(printable(name), str(own.boxes), _shown(own.ap), _shown(own.ap50), *remark)
    return table


def _shown(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
