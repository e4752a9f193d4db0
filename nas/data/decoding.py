"""Pixels without a cache: each image is decoded whenever a batch asks for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nas.data.cache import (
    THREADS,
    PixelCache,
    Progress,
    cache_path,
    decode,
    placements,
    refuse_if_none,
)
from nas.data.coco import Image, Split
from nas.data.resize import ResizeRule
from nas.data.settings import DataSettings, cache_directory
from nas.errors import DataError
from nas.files import write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DecodedPixels(PixelCache):
    """Stands in for a cache that would not fit on the disk, with the same pixels.

    `pixels` is empty; `read` decodes, in threads.

    Attributes:
        images: In the order of the split.
    """

    images: tuple[Image, ...]

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Returns the pixels uint8 (n, size, size, 3) of the images at `positions`.

        Raises:
            DataError: One can't be decoded; names the file.
        """
        chosen = [self.images[position] for position in positions]
        if not chosen:
            return self.pixels
        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack(list(pool.map(lambda one: decode(one, self.size, self.rule), chosen)))

    @classmethod
    def of(cls, split: Split, size: int, rule: ResizeRule) -> DecodedPixels:
        """Returns a split's images as squares of `size`, none read yet, all taken as usable."""
        return cls(
            pixels=np.zeros((0, size, size, 3), dtype=np.uint8),
            placements=placements(split, size, rule),
            usable=np.ones(len(split), dtype=bool),
            size=size,
            rule=rule,
            fingerprint=split.fingerprint,
            path=split.root,
            images=split.images,
        )


def open_pixels(
    split: Split,
    size: int,
    rule: ResizeRule,
    settings: DataSettings,
    progress: Progress | None = None,
) -> PixelCache:
    """Opens the pixels of a split as the settings want them: cached, or decoded when needed.

    Images that can't be decoded are marked in `usable`, and one warning counts them and their
    boxes.

    Raises:
        DataError: No image can be decoded, or the cache can't be written.
    """
    if settings.pixels == "decode":
        usable = _looked_through(split, settings.cache_dir, progress)
        refuse_if_none(split, usable)
        opened: PixelCache = replace(DecodedPixels.of(split, size, rule), usable=usable)
    else:
        opened = PixelCache.open(split, size, rule, settings.cache_dir, progress)
    if not opened.usable.all():
        left = split.part(split.name, np.flatnonzero(~opened.usable))
        log.warning(
            "%s: %d of the %d images of %s can't be decoded; they and their %d boxes are left "
            "out (`nas data check %s` lists them)",
            *(split.json_path, len(left), len(split), split.name),
            *(left.boxes + left.crowds, split.root),
        )
    return opened


def decodable(images: Sequence[Image], progress: Progress | None = None) -> np.ndarray:
    """Decodes images, and returns bool (N,): which ones can be."""

    def works(image: Image) -> bool:
        try:
            decode(image, 1, "stretch")
        except DataError:
            return False
        return True

    usable = np.ones(len(images), dtype=bool)
    with ThreadPoolExecutor(THREADS) as pool:
        for position, one in enumerate(pool.map(works, images)):
            usable[position] = one
            if progress:
                progress(position + 1, len(images))
    return usable


def _looked_through(split: Split, root: Path | None, progress: Progress | None) -> np.ndarray:
    """Returns which images of a split can be decoded (N,), by a note in the cache or by trying."""
    key = hashlib.sha256(f"decodable {split.fingerprint}".encode()).hexdigest()
    path = cache_directory(root) / "decodable" / f"{key[:24]}.json"
    usable = np.ones(len(split), dtype=bool)
    try:
        usable[json.loads(path.read_text())["unusable"]] = False
        return usable
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        usable = decodable(split.images, progress)
    with contextlib.suppress(OSError):  # without the note the next process looks again
        path.parent.mkdir(parents=True, exist_ok=True)
        note = json.dumps({"unusable": np.flatnonzero(~usable).tolist()})
        write_text(path, note, shared=True)
    return usable


def is_cached(split: Split, size: int, rule: ResizeRule, settings: DataSettings) -> bool:
    """Returns whether the pixels of a split lie in the cache."""
    return cache_path(split, size, rule, settings.cache_dir).is_file()
