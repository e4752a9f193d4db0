"""Finds image files by the names that annotation tools write, without ever leaving the root.

A name is looked for as it stands first. Only where no file has it, what may differ between the
machine that wrote it and this one is set aside: separators, composed letters, `%20`, case, and
folders in front that aren't here. A file is taken only if it is the only one that fits.
"""

from __future__ import annotations

import bisect
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from nas.errors import DataError
from nas.validation import nearest

Part = Literal["train", "val", "test"]

_WORDS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_MAX_FILES = 2_000_000  # below a folder: where there are more, no data folder was meant
_HINTS = 20  # missing images for which the nearest name is looked up
_NEIGHBOURS = 40  # names in sorted order, before and after, that are compared letter by letter


class PathEscape(DataError):
    """A file name that leads out of the data folder."""


def part_named(name: str) -> Part | None:
    """Returns the part that a file or folder is named for: of `Valid`, `val` or `val2017`, val."""
    word = re.sub(r"[ _-]?(19|20)\d\d$", "", name.casefold())
    return _WORDS.get(word)


def image_name(row: Mapping[str, Any]) -> str | None:
    """Returns the name of an image row's file; None where it has none.

    That is `file_name`; where there is none, the path in `coco_url`, by which alone LVIS names
    its images (http://images.cocodataset.org/train2017/000000391895.jpg).
    """
    name = row.get("file_name")
    if name is None or name == "":
        url = row.get("coco_url")
        name = _url_path(url) if isinstance(url, str) else None
    return name if isinstance(name, str) else None


def _url_path(url: str) -> str | None:
    try:
        return urlsplit(url).path.lstrip("/") or None
    except ValueError:
        return None


class ImageFiles:
    """Finds image files by name, each directory read once, and refuses to leave the root.

    Example:
        >>> files = ImageFiles(layout.root)
        >>> files.locate(layout.image_folders, "000001.jpg")
        (PosixPath('data/train/000001.jpg'), 48213)
    """

    def __init__(self, root: Path) -> None:
        self._shown_root = root
        self._root = os.path.realpath(root)
        self._directories: dict[str, dict[str, int | None]] = {}
        self._trees: dict[tuple[str, frozenset[Part]], _Tree] = {}
        self._hints = 0
        self._last: tuple[str, list[str]] = "", []  # looked for, and what fits it

    def locate(self, folders: Sequence[Path], name: str) -> tuple[Path, int] | None:
        """Returns path and bytes of the regular file that a name means; None where none does.

        Raises:
            PathEscape: The name is absolute, contains `..`, or leads out by a symbolic link.
        """
        if _leaves(name):
            wrong = "holds a zero byte" if "\0" in name else "is absolute or has '..'"
            raise PathEscape(f"file_name {name!r} {wrong}; write its path from the data folder")
        for folder in folders:
            located = self._sized(os.path.join(folder, name), name)
            if located:
                return located
        fitting = self._fitting(folders, name)
        self._last = name, fitting
        return self._sized(fitting[0], name) if len(fitting) == 1 else None

    def whereabouts(self, folders: Sequence[Path], name: str) -> str:
        """Says where an image that isn't there was looked for, and what is nearest to its name."""
        shown = [self._shown(folder) for folder in folders if folder.is_dir()]
        line = f"looked in {', '.join(dict.fromkeys(shown))}"
        fitting = self._last[1] if self._last[0] == name else self._fitting(folders, name)
        if len(fitting) > 1:
            paths = ", ".join(self._shown(path) for path in fitting[:3])
            return f"{line}; {len(fitting)} files fit it: {paths}"
        if self._hints < _HINTS:
            self._hints += 1
            nearest = self._nearest(folders, name)
            line += f"; nearest is {self._shown(nearest)}" if nearest else "; nothing is near it"
        return line

    def holds(self, path: Path | str) -> bool:
        """Returns whether a path, all symbolic links followed, lies within the root."""
        return self._inside(os.fspath(path))

    def _sized(self, path: str, name: str) -> tuple[Path, int] | None:
        """Returns path and bytes, if that is a regular file."""
        directory, leaf = os.path.split(path)
        listing = self._list(directory)
        if leaf not in listing:
            return None
        size = listing[leaf]
        if size is None:
            raise PathEscape(
                f"file_name {name!r} is a symbolic link out of {self._root}; copy the file there"
            )
        return Path(directory, leaf), size

    def _fitting(self, folders: Sequence[Path], name: str) -> list[str]:
        """Returns all files that a name can mean; of several, none is taken.

        Folders in front of the name are dropped one after the other, as those of the machine
        that wrote it, but only while no such folder is here: in one that is, the image is
        missing. A name with the folder of another part (`val/1.jpg` in train.json) is never read
        without it, since the parts often have files of the same names.
        """
        trees = self._search(folders)
        spelt = [piece for piece in _composed(name).split("/") if piece not in ("", ".")]
        parts = [_alike_key(piece) for piece in spelt]
        if not parts or ".." in parts:
            return []
        own = self._parts(folders)
        for first in range(len(parts)):
            dropped = {part_named(piece) for piece in parts[:first]} - {None}
            if own and dropped - own:
                return []
            path = "/".join(parts[first:])
            for tree in trees:
                if path in tree.files:
                    return _closest(tree.files[path], "/".join(spelt[first:]))
            directory = "/".join(parts[first:-1])
            if directory and any(directory in tree.folders for tree in trees):
                return []
        if len(parts) > 1:
            return []
        # A bare name may lie in any folder below. The trees overlap: images/ is in the root's.
        below = [path for tree in trees for path in tree.leaves.get(parts[0], ())]
        return _closest(list(dict.fromkeys(below)), spelt[0])

    def _parts(self, folders: Sequence[Path]) -> frozenset[Part]:
        """Returns the parts of the data that these folders, but not the root, are named for."""
        parts = (part_named(folder.name) for folder in folders if folder != self._shown_root)
        return frozenset(part for part in parts if part is not None)

    def _search(self, folders: Sequence[Path]) -> list[_Tree]:
        """Returns what lies below each folder, without the folders of other parts of the data."""
        own = self._parts(folders)
        trees = []
        for folder in dict.fromkeys(os.fspath(folder) for folder in folders):
            key = folder, own
            if key not in self._trees:
                self._trees[key] = _Tree(folder, self._walk(folder, own))
            trees.append(self._trees[key])
        return trees

    def _walk(self, folder: str, own: frozenset[Part]) -> Iterator[tuple[str, list[str]]]:
        """Yields each folder below, links not followed, with the names of its files."""
        if not self._inside(folder):
            return
        for directory, below, names in os.walk(folder):
            below[:] = [
                name
                for name in below
                if not name.startswith(".") and not (own and part_named(name) not in (None, *own))
            ]
            yield directory, names

    def _nearest(self, folders: Sequence[Path], name: str) -> str | None:
        """Returns the file whose name differs least, found among neighbours in sorted order."""
        leaf = _alike_key(name).rsplit("/", 1)[-1]
        candidates: dict[str, str] = {}
        for tree in self._search(folders):
            for key in tree.neighbours(leaf):
                if not key.endswith(".json"):
                    candidates.setdefault(key, tree.leaves[key][0])
        near = nearest(leaf, candidates)
        return None if near is None else candidates[near]

    def _shown(self, path: Path | str) -> str:
        """Returns a path from the root on; a folder ends in a slash, the root itself is `./`."""
        relative = os.path.relpath(path, self._shown_root)
        return f"{relative}/" if os.path.isdir(path) else relative

    def _list(self, directory: str) -> dict[str, int | None]:
        """Returns name and bytes of the files in a directory; None marks links leading out."""
        if directory not in self._directories:
            if os.path.isdir(directory) and not self._inside(directory):
                raise PathEscape(
                    f"{directory} is a symbolic link out of {self._root}; copy the folder there"
                )
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


class _Tree:
    """The files below a folder, by their names as `_alike_key` makes them.

    Attributes:
        files: Paths of the files, by path from the folder on.
        leaves: Paths of the files, by file name alone.
        folders: Paths from the folder on.
    """

    def __init__(self, folder: str, listings: Iterator[tuple[str, list[str]]]) -> None:
        self.files: dict[str, list[str]] = defaultdict(list)
        self.leaves: dict[str, list[str]] = defaultdict(list)
        self.folders: set[str] = set()
        number = 0
        for directory, names in listings:
            number += len(names)
            if number > _MAX_FILES:
                self.files, self.leaves, self.folders = defaultdict(list), defaultdict(list), set()
                break
            relative = os.path.relpath(directory, folder)
            prefix = "" if relative == "." else _alike_key(relative) + "/"
            self.folders.add(prefix.rstrip("/"))
            for name in sorted(names):
                path, key = os.path.join(directory, name), prefix + _alike_key(name)
                self.files[key].append(path)
                self.leaves[key.rsplit("/", 1)[-1]].append(path)
        self._sorted: tuple[list[str], list[str]] | None = None

    def neighbours(self, leaf: str) -> list[str]:
        """Returns file names that begin or end much as this one does."""
        if self._sorted is None:
            self._sorted = sorted(self.leaves), sorted(key[::-1] for key in self.leaves)
        forward, backward = self._sorted
        place, mirrored = bisect.bisect(forward, leaf), bisect.bisect(backward, leaf[::-1])
        ends = backward[max(0, mirrored - _NEIGHBOURS) : mirrored + _NEIGHBOURS]
        starts = forward[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
        return [*starts, *(key[::-1] for key in ends)]


@lru_cache(maxsize=4096)
def _alike_key(name: str) -> str:
    """Returns a name without what tools and file systems change: separators, %20, case."""
    plain = _composed(name)
    return unicodedata.normalize("NFC", plain.casefold())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name.replace("\\", "/")))


def _closest(paths: list[str], name: str) -> list[str]:
    """Returns the one of several files that is spelt exactly so; else all of them."""
    if len(paths) > 1:
        ending = f"/{name}"
        same = [path for path in paths if _composed(path).endswith(ending)]
        return same if len(same) == 1 else paths
    return paths


def _leaves(name: str) -> bool:
    windows = PureWindowsPath(name)  # knows both kinds of separators
    return bool(not name or "\0" in name or windows.drive or windows.root or ".." in windows.parts)
