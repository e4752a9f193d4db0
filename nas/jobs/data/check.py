"""`nas data check`: what is wrong with a folder of images, and which boxes no anchor reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.table import Table

from nas.data import check as checking
from nas.data.coco import Split
from nas.errors import DataError
from nas.genome.parts import OctaveAnchors
from nas.ui.console import console, counted
from nas.ui.problems import list_problems
from search_spaces import zoo


def check(folder: Path, *, size: int = 640) -> None:
    """Prints every problem of a folder, its numbers, and the boxes that no anchor can match.

    The last line says what is left out, what is used though it is odd, and which commands refuse
    the folder. Only what is left out or refused is an error.

    Args:
        folder: with `train` and `val` in any layout that is understood.
        size: side of the input in pixels, for the anchors.

    Raises:
        DataError: something is left out or refused, or the folder can't be read at all.
    """
    with counted("decoding") as step:
        report = checking.check(folder, progress=step)
    list_problems(report.problems)
    for summary in report.summaries:
        console.print(str(summary))
    if report.splits[0].boxes:
        console.print(_anchor_table(report.splits[0], size))
    if not report.usable:
        raise DataError(f"{folder}: {report.verdict}")
    console.print(report.verdict)


def _anchor_table(train: Split, size: int) -> Table:
    """Counts boxes by the level whose anchors fit them best, and those that none can match."""
    head = zoo.genome("spinenet-49").head
    levels = range(3, 3 + len(head.anchors))
    anchors = [
        np.array(part.sides(level), dtype=np.float32)
        for part, level in zip(head.anchors, levels, strict=True)
        if isinstance(part, OctaveAnchors)
    ]
    match = checking.unmatchable(train, anchors, size)
    table = Table(
        title=f"SpineNet-49's anchors on train at {size} px: {match.share:.1%} of the boxes have "
        "none with an IoU of 0.5",
        title_justify="left",
    )
    table.add_column("level")
    for name in ("boxes it fits best", "without a match"):
        table.add_column(name, justify="right")
    for level, boxes, missed in zip(levels, match.boxes, match.unmatchable, strict=True):
        table.add_row(f"P{level}", str(boxes), str(missed))
    return table
