"""What batches are made of: cached pixels, and the boxes that belong to them."""

from __future__ import annotations

import numpy as np

from nas.data.cache import PixelCache
from nas.data.coco import Split
from nas.data.resize import content_size
from nas.errors import DataError


class SplitSource:
    """The boxes of a split in the frame of its cache, without crowds, ready to be gathered.

    Args:
        cache: The pixels.
        split: The split that the cache was opened for.

    Attributes:
        read: Returns pixels uint8 (n, size, size, 3) of the images at positions (n,).
        size: Side of the cached squares in pixels.
        rule: How images were fitted into them.
        placements: Where each image lies in its square.
        positions: int (U,), the images that could be decoded.
        image_ids: int64 (N,), the user's ids.
        content: int (N, 2), width and height in the square of what isn't padding.
        photos: int (N, 2), width and height of the photos in pixels.
        has_boxes: bool (N,).

    Raises:
        DataError: The cache holds other images than the split.
    """

    def __init__(self, cache: PixelCache, split: Split) -> None:
        if cache.fingerprint != split.fingerprint:
            raise DataError(
                f"{cache.path}: holds other images than {split.name!r} of {split.json_path}; "
                "open the cache for this split"
            )
        self.read = cache.read
        self.size, self.rule = cache.size, cache.rule
        self.placements = cache.placements
        self.positions = np.flatnonzero(cache.usable)
        self.image_ids = np.array([image.id for image in split.images], dtype=np.int64)
        kept = [~image.crowd for image in split.images]
        self._counts = np.array([int(keep.sum()) for keep in kept], dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._boxes = np.concatenate(
            [
                place.to_input(image.boxes[keep])
                for place, image, keep in zip(cache.placements, split.images, kept, strict=True)
            ]
        ).astype(np.float32)
        self._labels = np.concatenate(
            [image.labels[keep] for image, keep in zip(split.images, kept, strict=True)]
        )
        self.content = np.array(
            [content_size(i.width, i.height, cache.size, cache.rule) for i in split.images]
        )
        self.photos = np.array([(image.width, image.height) for image in split.images])
        self.has_boxes = self._counts > 0

    def gather(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns boxes (B, M, 4) and labels (B, M), padded with zeros to the largest count."""
        counts = self._counts[positions]
        most = int(counts.max(initial=0))
        boxes = np.zeros((len(positions), most, 4), dtype=np.float32)
        labels = np.zeros((len(positions), most), dtype=np.int64)
        real = np.arange(most) < counts[:, None]
        rows = (self._starts[positions][:, None] + np.arange(most))[real]
        boxes[real] = self._boxes[rows]
        labels[real] = self._labels[rows]
        return boxes, labels

    def of(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the boxes (n, 4) and labels (n,) of one image."""
        own = slice(self._starts[position], self._starts[position] + self._counts[position])
        return self._boxes[own], self._labels[own]
