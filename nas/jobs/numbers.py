"""COCO's numbers as a table on the screen."""

from __future__ import annotations

import math

from rich.table import Table

from nas.evaluation.metrics import Metrics

_ROWS = (
    ("AP", "ap", "mean over IoU 0.50 to 0.95"),
    ("AP50", "ap50", "boxes count from IoU 0.50 on"),
    ("AP75", "ap75", "boxes count from IoU 0.75 on"),
    ("AP small", "ap_small", "objects under 32² pixels"),
    ("AP medium", "ap_medium", "objects of 32² to 96² pixels"),
    ("AP large", "ap_large", "objects over 96² pixels"),
    ("AP common", "ap_common", "classes with at least ten boxes"),
    ("AR 100", "ar100", "recall with 100 detections an image"),
)


def numbers_table(metrics: Metrics, title: str) -> Table:
    """The numbers that people look at, each with its meaning; what can't be said is a dash."""
    table = Table(title=title, title_justify="left")
    table.add_column("number")
    table.add_column("value", justify="right")
    table.add_column("what it is", style="dim")
    for name, field, meaning in _ROWS:
        value = getattr(metrics, field)
        table.add_row(name, "–" if math.isnan(value) else f"{value:.3f}", meaning)
    return table
