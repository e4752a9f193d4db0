"""Recognises the layout of a data folder, and finds its images without ever leaving it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from nas.data.json_file import parse
from nas.errors import DataError

SplitName = Literal["train", "val"]

MAX_JSON_BYTES = 2 * 2**30
"""Parsing takes about ten times a file's size in memory; COCO's own is 0.45 GB, LVIS's 1.1 GB."""

_FOLDER_NAMES = {"train": ("train",), "val": ("val", "valid")}
_EXPORT = "_annotations.coco.json"


@dataclass(frozen=True)
class Layout:
    """One split on disk: its annotation file, and the folders its file names may start from."""

    root: Path
    json_path: Path
    image_folders: tuple[Path, ...]


class PathEscape(DataError):
    """A file name that leads out of the data folder."""


def find_layout(root: Path | str, split: SplitName) -> Layout:
    """Finds the annotations of `train` or `val` in any layout that is understood.

    Raises:
        DataError: The folder doesn't exist or has no annotations for this split.
    """
    root = Path(root)
    if split not in _FOLDER_NAMES:
        raise DataError(f"split {split!r} is unknown; use 'train' or 'val'")
    if not root.is_dir():
        raise DataError(f"{root}: no such data folder")
    for layout in _candidates(root, split):
        if layout.json_path.is_file():
            return layout
    raise DataError(
        f"{root}: no annotations for {split!r}; looked for {split}.json with {split}/, "
        f"annotations/instances_{split}2017.json with {split}2017/, and "
        f"{_FOLDER_NAMES[split][-1]}/{_EXPORT}"
    )


def _candidates(root: Path, split: str) -> Iterator[Layout]:
    for name in _FOLDER_NAMES[split]:
        folders = (root / name, root / "images", root)
        yield Layout(root, root / f"{name}.json", folders)
    for name in _FOLDER_NAMES[split]:
        # The newest year first: COCO's 2014 and 2017 files often lie side by side.
        for path in sorted(root.glob(f"annotations/instances_{name}*.json"), reverse=True):
            folder = path.stem.removeprefix("instances_")
            yield Layout(root, path, (root / folder, root / "images" / folder, root))
    for name in _FOLDER_NAMES[split]:
        yield Layout(root, root / name / _EXPORT, (root / name, root))


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
    """The rows of one table ('images', 'annotations', 'categories') of an annotation file."""
    rows = document.get(table)
    if not isinstance(rows, list):
        raise DataError(f"{path}: '{table}' is missing or not a list, as COCO's format has it")
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: {table}[{position}] is {row!r:.40}, not an object")
    return rows


class ImageFiles:
    """Finds image files by name, each directory read once, and refuses to leave the root.

    Example:
        >>> files = ImageFiles(layout.root)
        >>> files.locate(layout.image_folders, "000001.jpg")
        (PosixPath('data/train/000001.jpg'), 48213)
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._directories: dict[str, dict[str, int | None]] = {}

    def locate(self, folders: Sequence[Path], name: str) -> tuple[Path, int] | None:
        """Path and bytes of the first regular file of that name; None where there is none.

        Raises:
            PathEscape: The name is absolute, contains `..`, or leads out by a symbolic link.
        """
        if _leaves(name):
            raise PathEscape(f"file_name {name!r} is absolute or has '..'")
        for folder in folders:
            directory, leaf = os.path.split(os.path.join(folder, name))
            if leaf not in (known := self._list(directory)):
                continue
            size = known[leaf]
            if size is None:
                raise PathEscape(f"file_name {name!r} is a symbolic link out of {self._root}")
            return Path(directory, leaf), size
        return None

    def holds(self, path: Path | str) -> bool:
        """Whether a path, all symbolic links followed, lies within the root."""
        return self._inside(os.fspath(path))

    def _list(self, directory: str) -> dict[str, int | None]:
        """Name and bytes of the regular files in a directory; None marks links leading out."""
        if directory not in self._directories:
            if os.path.isdir(directory) and not self._inside(directory):
                raise PathEscape(f"{directory} is a symbolic link out of {self._root}")
            self._directories[directory] = dict(self._scan(directory))
        return self._directories[directory]

    def _scan(self, directory: str) -> Iterator[tuple[str, int | None]]:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self._inside(entry.path):
                        yield entry.name, None
                    elif entry.is_file():
                        yield entry.name, entry.stat().st_size
        except PermissionError as error:
            raise DataError(f"{directory}: cannot be listed ({error.strerror})") from error
        except (OSError, ValueError):
            return  # no such folder, or no name that a folder could have: its images are missing

    def _inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(self._root.rstrip(os.sep) + os.sep)


def _leaves(name: str) -> bool:
    windows = PureWindowsPath(name)  # knows both kinds of separators
    return bool(not name or "\0" in name or windows.drive or windows.root or ".." in windows.parts)
