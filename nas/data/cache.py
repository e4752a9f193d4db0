"""Decoded and resized pixels, made once and shared by all workers as one memory map."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from nas.data.coco import Image, Split
from nas.data.resize import Placement, ResizeRule, placement, read_rgb, resize
from nas.data.settings import cache_directory
from nas.errors import DataError
from nas.files import replacing, write_text

Progress = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""

THREADS = min(8, os.cpu_count() or 1)
"""That decode at once."""

_FORMAT = 2  # raise it when the same image would come out as other pixels
_CHUNK = 128
_STALE_SECONDS = 3600


@dataclass(frozen=True, eq=False)
class PixelCache:
    """The images of a split as squares of uint8 pixels.

    Attributes:
        pixels: uint8 (N, size, size, 3), a read-only memory map in the order of `split.images`.
        placements: Where each image lies in its square.
        usable: bool (N,); False where a file couldn't be decoded, its pixels are zero.
        size: Side of the squares in pixels.
        rule: How images were fitted into them.
        fingerprint: That of the split.
        path: The file behind the memory map.

    Example:
        >>> cache = PixelCache.open(split, size=128, rule="letterbox")
        >>> cache.pixels.shape
        (4510, 128, 128, 3)
    """

    pixels: np.ndarray
    placements: tuple[Placement, ...]
    usable: np.ndarray
    size: int
    rule: ResizeRule
    fingerprint: str
    path: Path

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Returns the pixels uint8 (n, size, size, 3) of the images at `positions`, as a copy."""
        return np.asarray(self.pixels[positions])

    def decodable(self, split: Split) -> Split:
        """Returns the images of the split that could be decoded: what can be judged.

        Args:
            split: The one that this was opened for; it is returned itself if all could.

        Raises:
            DataError: None could.
        """
        if self.usable.all():
            return split
        refuse_if_none(split, self.usable)
        return split.part(split.name, np.flatnonzero(self.usable))

    @classmethod
    def open(
        cls,
        split: Split,
        size: int,
        rule: ResizeRule,
        root: Path | str | None = None,
        progress: Progress | None = None,
    ) -> PixelCache:
        """Opens the cache of a split, and makes it first where there is none.

        Any number of processes may do so at once; each then makes its own copy under a
        temporary name, and the last one renamed stays.

        Args:
            split: The images.
            size: Side of the squares in pixels.
            rule: `letterbox` or `stretch`.
            root: Folder for caches; None takes `cache_directory()`.
            progress: Told about the images done while the cache is made.

        Raises:
            DataError: No image can be decoded, or the folder can't be written (disk full).
        """
        path = cache_path(split, size, rule, root)
        folder = path.parent
        stored = _read(path, len(split.images), size)
        if stored is None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _remove_stale(folder)
                _refuse_if_full(folder, cache_bytes(split, size))
                _make(path, split, size, rule, progress)
            except OSError as error:
                raise DataError(
                    f"{folder}: the pixel cache cannot be written ({error.strerror or error}); "
                    "free some space or set data.cache_dir or SPINENAS_CACHE"
                ) from error
            stored = _read(path, len(split.images), size)
        if stored is None:
            raise DataError(f"{path}: the pixel cache just written cannot be read; delete it")
        pixels, usable = stored
        places = placements(split, size, rule)
        return cls(pixels, places, usable, size, rule, split.fingerprint, path)


def cache_path(split: Split, size: int, rule: ResizeRule, root: Path | str | None = None) -> Path:
    """Returns the file in which the pixels of a split are kept."""
    key = hashlib.sha256(f"{_FORMAT} {split.fingerprint} {size} {rule}".encode()).hexdigest()
    return cache_directory(root) / "pixels" / f"{key[:24]}.npy"


def cache_bytes(split: Split, size: int) -> int:
    """Bytes that the pixels of a split take up: 145 GB for COCO's `train` at 640 px."""
    return len(split) * size * size * 3


def placements(split: Split, size: int, rule: ResizeRule) -> tuple[Placement, ...]:
    """Returns where each image of a split lies in its square."""
    return tuple(placement(image.width, image.height, size, rule) for image in split.images)


def decode(image: Image, size: int, rule: ResizeRule) -> np.ndarray:
    """Reads an image file and fits it into a square uint8 (size, size, 3).

    Raises:
        DataError: It can't be decoded, or was exchanged since the split was loaded.
    """
    pixels = read_rgb(image.path)
    if pixels.shape[:2] != (image.height, image.width):
        raise DataError(
            f"{image.path}: has {pixels.shape[1]}x{pixels.shape[0]} pixels now, "
            f"{image.width}x{image.height} when the data was read; start again"
        )
    return resize(pixels, size, rule)[0]


def refuse_if_none(split: Split, usable: np.ndarray) -> None:
    """Refuses a split of which no image can be decoded.

    Raises:
        DataError: Names its annotation file.
    """
    if not usable.any():
        raise DataError(
            f"{split.json_path}: none of {len(split)} images can be decoded; replace their files "
            f"(`nas data check {split.root}` lists them)"
        )


def _refuse_if_full(folder: Path, needed: int) -> None:
    """Refuses a cache that the disk has no room for, before hours of decoding."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: the pixel cache needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are "
            "free; free some space, set data.cache_dir or SPINENAS_CACHE, or decode images anew "
            "in each epoch with data.pixels=decode"
        )


def _read(path: Path, images: int, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads pixels and usability; None unless both files are whole and of the shape expected."""
    try:
        pixels = np.load(path, mmap_mode="r")
        unusable = json.loads(path.with_suffix(".json").read_text())["unusable"]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if pixels.shape != (images, size, size, 3) or pixels.dtype != np.uint8:
        return None
    usable = np.ones(images, dtype=bool)
    usable[unusable] = False
    return pixels, usable


def _make(path: Path, split: Split, size: int, rule: ResizeRule, progress: Progress | None) -> None:
    """Writes the pixels and, before them, the list of images that couldn't be decoded."""
    unusable: list[int] = []
    with replacing(path, shared=True) as temporary:
        with temporary.open("xb") as file:
            _write_header(file, (len(split.images), size, size, 3))
            for position, square in enumerate(_squares(split, size, rule)):
                if square is None:
                    unusable.append(position)
                # Written in order rather than through a memory map: on a full disk this raises,
                # where a store into a map would end the process with a bus error.
                file.write(bytes(3 * size * size) if square is None else square.data)
                if progress and ((position + 1) % 16 == 0 or position + 1 == len(split.images)):
                    progress(position + 1, len(split.images))
            file.flush()
            os.fsync(file.fileno())
        usable = np.ones(len(split), dtype=bool)
        usable[unusable] = False
        refuse_if_none(split, usable)
        note = {"split": split.name, "size": size, "rule": rule, "unusable": unusable}
        write_text(path.with_suffix(".json"), json.dumps(note), shared=True)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _squares(split: Split, size: int, rule: ResizeRule) -> Iterator[np.ndarray | None]:
    """Yields resized images in order, made in threads (Pillow decodes outside the lock)."""

    def square(image: Image) -> np.ndarray | None:
        try:
            return decode(image, size, rule)
        except DataError:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(split.images), _CHUNK):  # bounds what waits to be written
            yield from pool.map(square, split.images[start : start + _CHUNK])


def _remove_stale(folder: Path) -> None:
    """Removes what processes that were killed have left behind."""
    for part in folder.glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()
        except FileNotFoundError:
            pass
