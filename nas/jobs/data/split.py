"""`nas data split`: divides the one annotation file of a folder."""

from __future__ import annotations

from pathlib import Path

from nas.data.split import split_folder
from nas.errors import amount
from nas.ui.console import console
from nas.ui.problems import list_problems


def split(folder: Path, *, share: float = 0.1, seed: int = 0) -> None:
    """Divides the one annotation file of a folder into `train.json` and `val.json`.

    Every image and box of the file is accounted for: those in neither part are listed.

    Args:
        folder: with one annotation file.
        share: of the images that goes to val.
        seed: of the draw.

    Raises:
        DataError: the folder can't be divided; in one line that says why.
    """
    parts = split_folder(folder, val=share, seed=seed)
    list_problems(parts.problems)
    images, boxes = parts.left_out
    lines = [
        f"{parts.train_json}: {amount(parts.train_images, 'image')}, "
        f"{amount(parts.train_boxes, 'box')}",
        f"{parts.val_json}: {amount(parts.val_images, 'image')}, {amount(parts.val_boxes, 'box')}",
    ]
    if images or boxes:
        lines.append(
            f"left out: {amount(images, 'image')} and {amount(boxes, 'box')} of the "
            f"{parts.images} and {parts.boxes} in {parts.json_path}; an image that can't be used "
            "takes its boxes along"
        )
    else:
        lines.append(f"nothing of {parts.json_path} is left out")
    console.print(*lines)
