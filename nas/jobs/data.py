"""`nas data …`: checks, divides and shows a folder of images before training on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from nas.data import check as checking
from nas.data.coco import Split, load_split
from nas.data.problems import Problem
from nas.data.split import split_folder
from nas.errors import DataError, amount
from nas.genome.parts import OctaveAnchors
from nas.jobs.outputs import check_folder
from nas.ui.console import console, counted, show_warnings
from nas.ui.contact_sheet import contact_sheet
from search_spaces import zoo

MOST_PROBLEMS = 50
"""Problems listed on the screen; the file has all."""


def check(folder: Path, *, size: int = 640) -> None:
    """Prints every problem of a folder, its numbers, and the boxes that no anchor can match.

    The last line says what is left out, what is used though it is odd, and which commands refuse
    the folder. Only what is left out or refused is an error.

    Args:
        folder: with ``train`` and ``val`` in any layout that is understood.
        size: side of the input in pixels, for the anchors.

    Raises:
        DataError: something is left out or refused, or the folder can't be read at all.
    """
    with counted("decoding") as step:
        report = checking.check(folder, progress=step)
    _list(report.problems)
    for summary in report.summaries:
        console.print(str(summary))
    if report.splits[0].boxes:
        console.print(_anchor_table(report.splits[0], size))
    if not report.usable:
        raise DataError(f"{folder}: {report.verdict}")
    console.print(report.verdict)


def _anchor_table(train: Split, size: int) -> Table:
    """Boxes by the level whose anchors fit them best, and those that none can match."""
    from nas.models.anchors import anchor_sides

    head = zoo.genome("spinenet-49").head
    levels = range(3, 3 + len(head.anchors))
    anchors = [
        anchor_sides(part, level).numpy()
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


def split(folder: Path, *, share: float = 0.1, seed: int = 0) -> None:
    """Divides the one annotation file of a folder into ``train.json`` and ``val.json``.

    Every image and box of the file is accounted for: those in neither part are listed.
    """
    cut = split_folder(folder, val=share, seed=seed)
    _list(cut.problems)
    images, boxes = cut.left_out
    lines = [
        f"{cut.train_json}: {amount(cut.train_images, 'image')}, {amount(cut.train_boxes, 'box')}",
        f"{cut.val_json}: {amount(cut.val_images, 'image')}, {amount(cut.val_boxes, 'box')}",
    ]
    if images or boxes:
        lines.append(
            f"left out: {amount(images, 'image')} and {amount(boxes, 'box')} of the "
            f"{cut.images} and {cut.boxes} in {cut.json_path}; an image that can't be used takes "
            "its boxes along"
        )
    else:
        lines.append(f"nothing of {cut.json_path} is left out")
    console.print(*lines)


def _list(problems: Sequence[Problem]) -> None:
    for problem in problems[:MOST_PROBLEMS]:
        console.print(str(problem))
    if len(problems) > MOST_PROBLEMS:
        rest = checking.count(problems[MOST_PROBLEMS:])
        console.print(f"… and {len(problems) - MOST_PROBLEMS} more: {rest}")


def show(folder: Path, *, count: int = 16, out: Path | None = None) -> list[Path]:
    """Draws some images of both splits with their boxes and names; returns the pictures."""
    show_warnings()
    out = out or Path()
    check_folder(out)
    train = load_split(folder, "train", boxes=False)
    val = load_split(folder, "val", categories=train.categories, boxes=False)
    return [
        contact_sheet(part, out / f"{folder.resolve().name}-{part.name}.png", images=count)
        for part in (train, val)
    ]
