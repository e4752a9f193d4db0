"""Recognises the layout of a data folder: where its annotations and its images lie."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from nas.data.annotation_names import STANDARD, plainest, refuse_to_choose
from nas.data.image_files import ImageFiles, Part, part_named
from nas.data.json_file import parse
from nas.errors import DataError

log = logging.getLogger(__name__)

SplitName = Literal["train", "val"]

MAX_JSON_BYTES = 2 * 2**30
"""Parsing takes about ten times a file's size in memory; COCO's own is 0.45 GB, LVIS's 1.1 GB."""

_EXPORT = "_annotations.coco.json"
_ANNOTATIONS = ("annotations", "labels")
_IMAGES = ("images", "data")
_NAMED = 5  # files: more would make a long line
_MAX_WHOLE = 50  # JSON files that are looked into for COCO's tables; more are one for each image


@dataclass(frozen=True)
class SplitFiles:
    """One split on disk: its annotation file, and the folders its file names may start from."""

    root: Path
    json_path: Path
    image_folders: tuple[Path, ...]


def find_layout(root: Path | str, split: SplitName) -> SplitFiles:
    """Finds the annotations of `train` or `val` in any layout that is understood.

    Files are looked for in the folder itself, in `annotations/`, and in the part's own folder,
    in this order. Plain names win over names with more in them (`instances_val2014` over
    `instances_valminusminival2014`), `val` over `valid` and `validation`, and the newest year
    over others. A `test` is taken for `val` where there is no other, with a note.

    Raises:
        DataError: The folder doesn't exist, has no annotations for this split, or has several
            that are equally plain.
    """
    root = Path(root)
    if split not in ("train", "val"):
        raise DataError(f"split {split!r} is unknown; use 'train' or 'val'")
    if not root.is_dir():
        raise DataError(f"{root}: no such data folder")
    parts: tuple[Part, ...] = ("train",) if split == "train" else ("val", "test")
    for part in parts:
        for look in (_in_root, _in_annotations, _in_own_folder):
            layout = look(root, part)
            if layout is not None:
                if part == "test":
                    _note_once(f"{layout.json_path}: taken for 'val', as there is no other")
                return layout
    raise DataError(
        f"{root}: no annotations for {split!r}; looked for {split}.json with {split}/, "
        f"annotations/instances_{split}2017.json with {split}2017/, and "
        f"{'train' if split == 'train' else 'valid'}/{_EXPORT}{_what_is_there(root, split)}"
    )


def find_whole(root: Path) -> SplitFiles:
    """Finds the one annotation file of a folder whose images aren't divided yet.

    Raises:
        DataError: The folder doesn't exist, or hasn't exactly one such file.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such data folder")
    paths = _whole_files(root)
    tables = paths
    if 1 < len(paths) <= _MAX_WHOLE:
        # Tools write other JSON beside it, such as their own project, or one file for each image.
        tables = [path for path in paths if _has_tables(path)]
        instances = [path for path in tables if path.stem.startswith("instances_")]
        tables = instances if len(instances) == 1 else tables
    if len(tables) != 1:
        names = _listed(root, tables or paths) or "none"
        raise DataError(f"{root}: one annotation file (*.json) is needed to cut up; found {names}")
    path = tables[0]
    subset = path.stem.removeprefix("instances_")
    old = (path.parent, root / "images", root / subset)
    return SplitFiles(root, path, _folders(root, path, subset, None, [*old, root]))


def _whole_files(root: Path) -> list[Path]:
    files = ImageFiles(root)
    folders = [root, *_subfolders(root)]
    folders += [below for name in _ANNOTATIONS for below in _named(root, name)]
    paths: list[Path] = []
    for folder in dict.fromkeys(folders):
        everything = folder == root or folder.name.casefold() in _ANNOTATIONS
        paths += [path for path in _json_files(folder) if everything or _is_export(path)]
    if not paths:  # beside the images, where other tools put a file for each image
        paths = [
            p for name in _IMAGES for folder in _named(root, name) for p in _json_files(folder)
        ]
    return [path for path in paths if files.holds(path)]


def _is_export(path: Path) -> bool:
    return path.name in (_EXPORT, "labels.json", "result.json", "via_export_coco.json")


def _has_tables(path: Path) -> bool:
    try:
        document = parse(path.read_bytes(), path) if path.stat().st_size <= MAX_JSON_BYTES else {}
    except (OSError, ValueError, RecursionError, DataError):
        return False
    return isinstance(document, dict) and all(
        isinstance(document.get(table), list) for table in ("images", "annotations")
    )


def _in_root(root: Path, part: Part) -> SplitFiles | None:
    """Finds `train.json` with `train/` or `images/`."""
    path = plainest(_json_files(root), part)
    if path is None:
        return None
    old = [root / path.stem, root / "images", root]
    return SplitFiles(root, path, _folders(root, path, path.stem, part, old))


def _in_annotations(root: Path, part: Part) -> SplitFiles | None:
    """Finds `annotations/instances_train2017.json` with `train2017/`, or `images/train/`."""
    paths = [path for name in _ANNOTATIONS for path in _files_in(root, name)]
    path = plainest(paths, part, loose="instances_")
    if path is None:
        return None
    subset = path.stem.removeprefix("instances_")
    old = [root / subset, root / "images" / subset, root]
    return SplitFiles(root, path, _folders(root, path, subset, part, old))


def _in_own_folder(root: Path, part: Part) -> SplitFiles | None:
    """Finds `valid/_annotations.coco.json`, or the one JSON file in `validation/`."""
    above = [root, *(below for name in (*_IMAGES, *_ANNOTATIONS) for below in _named(root, name))]
    for folder in (below for place in above for below in _part_folders(place, part)):
        places = [folder, *(below for name in _ANNOTATIONS for below in _named(folder, name))]
        for place in places:
            paths = _json_files(place)
            exports = [path for path in paths if _is_export(path)]
            chosen = next((path for path in exports if path.name == _EXPORT), None)
            chosen = chosen or _only(exports) or plainest(paths, part)
            if chosen is None and len(paths) > 1:
                tables = [p for p in paths if _has_tables(p)] if len(paths) <= _MAX_WHOLE else []
                if len(tables) > 1:
                    refuse_to_choose(tables)
                chosen = _only(tables)
            chosen = chosen or _only(paths)
            if chosen is not None:
                folders = [folder, root]
                subset = chosen.stem.removeprefix("instances_")
                return SplitFiles(root, chosen, _folders(folder, chosen, subset, part, folders))
    return None


def _only(paths: Sequence[Path]) -> Path | None:
    return paths[0] if len(paths) == 1 else None


def _folders(
    base: Path, json_path: Path, subset: str, part: Part | None, first: Sequence[Path]
) -> tuple[Path, ...]:
    """Returns the folders that file names may start from: `first`, and others that tools use.

    Args:
        base: The folder that holds the images of this part, or folders for them.
        json_path: The annotation file.
        subset: What the file is named for, such as `train2017` or `default`.
        part: The part; None for a file of all images.
        first: Folders that come first, whether they are there or not; the last is the root.
    """
    roots = [
        place
        for top in (base, first[-1])
        for place in (top, *(below for name in _IMAGES for below in _named(top, name)))
    ]
    own = [below for place in roots for below in _named(place, subset)]
    if part is not None:
        own += [below for place in roots for below in _part_folders(place, part)]
    inner = [below for place in own for name in _IMAGES for below in _named(place, name)]
    return tuple(dict.fromkeys([*first, *own, *inner, *roots, json_path.parent]))


def _part_folders(folder: Path, part: Part) -> list[Path]:
    """Folders named for a part: the standard name first, then its synonyms, the newest year."""
    folders = [below for below in _subfolders(folder) if part_named(below.name) == part]
    plain = (*STANDARD, "test", "valid")
    newest = sorted(folders, key=lambda below: below.name, reverse=True)
    return sorted(newest, key=lambda below: (below.name not in plain, below.name != part))


def _named(folder: Path, name: str) -> list[Path]:
    """Folders of this name in any case, as it stands first."""
    folders = [b for b in _subfolders(folder) if b.name.casefold() == name.casefold()]
    return sorted(folders, key=lambda below: below.name != name)


def _files_in(root: Path, name: str) -> Iterator[Path]:
    for folder in _named(root, name):
        yield from _json_files(folder)


def _subfolders(folder: Path) -> list[Path]:
    return [folder / name for name, is_folder in _entries(folder) if is_folder]


def _json_files(folder: Path) -> list[Path]:
    return [
        folder / name
        for name, is_folder in _entries(folder)
        if not is_folder and name.casefold().endswith(".json") and not name.startswith(".")
    ]


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return []


def _what_is_there(root: Path, split: str) -> str:
    """Names the JSON files in the folder, those first whose names are nearest to the split's."""
    places = [root, *(b for f in _subfolders(root) for b in (f, *_named(f, "annotations")))]
    paths = [path for place in places for path in _json_files(place)]
    if not paths:
        return "; there is no JSON file"
    likeness = {path: SequenceMatcher(None, split, path.stem).ratio() for path in paths[:1000]}
    paths.sort(key=lambda path: -likeness.get(path, 0))
    one = f"; if it is for all images, `nas data split {root}` divides it" * (len(paths) == 1)
    return f"; there is {_listed(root, paths)}{one}"


def _listed(root: Path, paths: Sequence[Path]) -> str:
    names = ", ".join(str(path.relative_to(root)) for path in paths[:_NAMED])
    return f"{names} and {len(paths) - _NAMED} more" if len(paths) > _NAMED else names


@lru_cache(maxsize=64)
def _note_once(message: str) -> None:
    log.warning("%s", message)


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads an annotation file of at most `limit` bytes whose top level is an object."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise DataError(
                f"{path}: {size} bytes, more than the {limit} allowed; split the data set "
                "or leave out what detection doesn't need, such as segmentations"
            )
        document = parse(path.read_bytes(), path)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: the top level is a {type(document).__name__}; COCO's format has an object "
            "with 'images', 'annotations' and 'categories'"
        )
    return document


def read_rows(document: dict[str, Any], table: str, path: Path) -> list[dict[str, Any]]:
    """Returns the rows of one table of an annotation file, such as 'images'."""
    rows = document.get(table)
    if not isinstance(rows, list):
        raise DataError(f"{path}: '{table}' is missing or not a list, as COCO's format has it")
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: {table}[{position}] is {row!r:.40}, not an object")
    return rows
