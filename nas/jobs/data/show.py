"""`nas data show`: images of a folder with their boxes and names."""

from __future__ import annotations

from pathlib import Path

from nas.data.coco import load_split
from nas.runs.outputs import check_folder
from nas.ui.console import show_warnings
from nas.ui.contact_sheet import contact_sheet


def show(folder: Path, *, count: int = 16, out: Path | None = None) -> list[Path]:
    """Draws some images of both splits with their boxes and names.

    Args:
        folder: with `train` and `val` in any layout that is understood.
        count: images of each split.
        out: where the pictures go; the current folder by default.

    Returns:
        The pictures, one a split.

    Raises:
        NasError: the folder can't be read, or the pictures couldn't be written.
    """
    show_warnings()
    out = out or Path()
    check_folder(out)
    train = load_split(folder, "train", boxes=False)
    val = load_split(folder, "val", categories=train.categories, boxes=False)
    return [
        contact_sheet(part, out / f"{folder.resolve().name}-{part.name}.png", images=count)
        for part in (train, val)
    ]
