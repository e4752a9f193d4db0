"""Pixels without a cache: each image is decoded whenever a batch asks for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nas.data.cache import THREADS, PixelCache, Progress, cache_path, decode, placements
from nas.data.coco import Image, Split
from nas.data.resize import ResizeRule
from nas.data.settings import DataSettings


@dataclass(frozen=True, eq=False)
class DecodedPixels(PixelCache):
    """Stands in for a cache that would not fit on the disk, with the same pixels.

    `pixels` is empty; `read` decodes, in threads. An image that can't be decoded is an error,
    where a cache would have left it out.

    Attributes:
        images: In the order of the split.
    """

    images: tuple[Image, ...]

    def read(self, positions: np.ndarray) -> np.ndarray:
        """The pixels uint8 (n, size, size, 3) of the images at `positions`.

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
        """The images of a split as squares of `size`, none of them read yet."""
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
    """The pixels of a split as the settings want them: cached, or decoded as they are needed."""
    if settings.pixels == "decode":
        return DecodedPixels.of(split, size, rule)
    return PixelCache.open(split, size, rule, settings.cache_dir, progress)


def is_cached(split: Split, size: int, rule: ResizeRule, settings: DataSettings) -> bool:
    """Whether the pixels of a split lie in the cache."""
    return cache_path(split, size, rule, settings.cache_dir).is_file()
