"""Finds pictures that are the same file content under several rows or names."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

_HEAD = 4096  # bytes: enough to tell most files of equal length apart


def identical_files(paths: Sequence[Path]) -> np.ndarray:
    """Returns for each file the position of the first file with the same bytes, int64 (N,).

    A file that differs from all before it has its own position. Contents are compared only where
    lengths agree, first by their heads, so a folder of distinct pictures is hardly read. A file
    that can't be read is the same as no other one.

    Example:
        >>> identical_files([Path("a.jpg"), Path("b.jpg"), Path("copy of a.jpg")])
        array([0, 1, 0])
    """
    first = np.arange(len(paths), dtype=np.int64)
    by_path: dict[str, int] = {}
    for position, path in enumerate(paths):  # a file that several rows name needn't be read
        first[position] = by_path.setdefault(os.path.realpath(path), position)
    groups: Iterable[list[int]] = [sorted(by_path.values())]
    for key in (_length, _head, _digest):
        groups = [part for group in groups for part in _divided(group, paths, key)]
    leader = np.arange(len(paths), dtype=np.int64)
    for group in groups:
        leader[group] = min(group)
    return leader[first]


def _divided(
    group: list[int], paths: Sequence[Path], key: Callable[[Path], Hashable]
) -> Iterator[list[int]]:
    """Yields the parts of a group whose files agree in a key; what stands alone is dropped."""
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for position in group:
        try:
            parts[key(paths[position])].append(position)
        except OSError:
            continue
    yield from (part for part in parts.values() if len(part) > 1)


def _length(path: Path) -> int:
    return path.stat().st_size


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).digest()
