"""`nas data …`: checks, divides and shows a folder of images before training on it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from nas.data import check as checking
from nas.data.coco import load_split
from nas.data.show import contact_sheet
from nas.data.split import split_folder
from nas.errors import DataError
from nas.genome.parts import OctaveAnchors
from nas.jobs.folders import load_both
from nas.jobs.screen import console, counted
from search_spaces import zoo

MOST_PROBLEMS = 50
"""Problems listed on the screen; the file has all."""


def check(folder: Path, *, size: int = 640) -> None:
    """Prints every problem of a folder, its numbers, and the boxes that no anchor can match.

    Args:
        folder: with ``train`` and ``val`` in any layout that is understood.
        size: side of the input in pixels, for the anchors.

    Raises:
        DataError: the folder has problems, or can't be read at all.
    """
    with counted("decoding") as step:
        report = checking.check(folder, progress=step)
    for problem in report.problems[:MOST_PROBLEMS]:
        console.print(str(problem), soft_wrap=True, markup=False)
    if len(report.problems) > MOST_PROBLEMS:
        console.print(f"… and {len(report.problems) - MOST_PROBLEMS} more")
    for summary in report.summaries:
        console.print(str(summary), soft_wrap=True, markup=False)
    console.print(_anchor_table(folder, size))
    if not report.ok:
        raise DataError(
            f"{folder}: {checking.count(report.problems)}; training leaves these out, "
            "mend them where they matter"
        )
    console.print("ok: everything can be used")


def _anchor_table(folder: Path, size: int) -> Table:
    """Boxes by the level whose anchors fit them best, and those that none can match."""
    from nas.models.anchors import anchor_sides

    head = zoo.genome("spinenet-49").head
    levels = range(3, 3 + len(head.anchors))
    anchors = [
        anchor_sides(part, level).numpy()
        for part, level in zip(head.anchors, levels, strict=True)
        if isinstance(part, OctaveAnchors)
    ]
    match = checking.unmatchable(load_split(folder, "train"), anchors, size)
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


def split(folder: Path, *, share: float = 0.1, seed: int = 0) -> None:
    """Divides the one annotation file of a folder into ``train.json`` and ``val.json``."""
    cut = split_folder(folder, val=share, seed=seed)
    console.print(
        f"{cut.train_json}: {cut.train_images} images\n{cut.val_json}: {cut.val_images} images",
        soft_wrap=True,
    )


def show(folder: Path, *, count: int = 16, out: Path | None = None) -> list[Path]:
    """Draws some images of both splits with their boxes and names; returns the pictures."""
    out = out or Path()
    return [
        contact_sheet(part, out / f"{folder.resolve().name}-{part.name}.png", images=count)
        for part in load_both(folder)
    ]
