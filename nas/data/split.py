"""Makes `train.json` and `val.json` from a folder with one annotation file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas.data.annotations import read_annotations
from nas.data.coco import assemble
from nas.data.holdout import holdout
from nas.data.layout import ImageFiles, Layout, read_json
from nas.data.problems import ESCAPE
from nas.data.settings import DataSettings
from nas.errors import DataError


@dataclass(frozen=True)
class Cut:
    """What `split_folder` wrote: the two files, and how many images went to each."""

    train_json: Path
    val_json: Path
    train_images: int
    val_images: int


def split_folder(
    root: Path | str,
    *,
    val: float = 0.2,
    by: Literal["blocks", "images"] = "blocks",
    seed: int = 0,
) -> Cut:
    """Cuts the one annotation file of a folder into `train.json` and `val.json` beside it.

    The images stay where they are. Neighbouring frames stay on one side, as in `holdout`.

    Args:
        root: The folder: an annotation file in it, in `annotations/` or in one folder below, and
            the images beside that file, in `images/`, or in a folder of the file's name.
        val: Share of the images that goes to `val`.
        by: `blocks` of the natural order of file names, or single `images`.
        seed: Other seeds draw other blocks.

    Raises:
        DataError: There isn't exactly one annotation file, or the files to write exist.
    """
    if not 0 < val < 1:
        raise DataError(f"val {val} is not a share; give a number between 0 and 1, such as 0.2")
    root = Path(root)
    targets = root / "train.json", root / "val.json"
    for target in targets:
        if target.exists():
            raise DataError(
                f"{target}: exists already; if it holds all images, rename it to annotations.json"
            )
    layout = _only_file(root)
    file = read_annotations(layout)
    for problem in file.problems:
        if problem.kind == ESCAPE:
            raise DataError(str(problem))
    whole, _ = assemble(file, "all")
    parts = holdout(whole, DataSettings(holdout=val, holdout_by=by), seed)
    document = read_json(layout.json_path)
    for part, target in zip(parts, targets, strict=True):
        _write(target, _only(document, {i.id: i.path for i in part.images}, root))
    return Cut(*targets, len(parts[0].images), len(parts[1].images))


def _only_file(root: Path) -> Layout:
    if not root.is_dir():
        raise DataError(f"{root}: no such data folder")
    files = ImageFiles(root)
    found = [
        path
        for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json")
        for path in sorted(root.glob(pattern))
        if files.holds(path)
    ]
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in found[:5]) or "none"
        raise DataError(f"{root}: one annotation file (*.json) is needed to cut up; found {names}")
    path = found[0]
    stem = path.stem.removeprefix("instances_")
    return Layout(root, path, (path.parent, root / "images", root / stem, root))


def _only(document: dict[str, Any], paths: dict[int, Path], root: Path) -> dict[str, Any]:
    """The document with these images alone, each named from the root."""
    images, taken = [], set()
    for row in document["images"]:
        if row.get("id") in paths and row["id"] not in taken:
            taken.add(row["id"])
            images.append({**row, "file_name": paths[row["id"]].relative_to(root).as_posix()})
    annotations = [
        row for row in document["annotations"] if _hashable(row.get("image_id")) in paths
    ]
    return {**document, "images": images, "annotations": annotations}


def _hashable(value: Any) -> int | None:
    return value if type(value) is int else None


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps(document))
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
