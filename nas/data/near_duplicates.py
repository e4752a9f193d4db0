"""Photos that show nearly the same: small grey pictures of them, and their boxes, compared.

Two photos are near-duplicates if they look alike and are annotated alike. Looks alone don't tell:
of two photos of one plain floor under one lamp, thumbnails differ less than those of successive
frames of a video, and yet different things lie on it. So boxes come first, which costs no decoding,
and only photos that have a partner by their boxes are looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nas.data.cache import THREADS
from nas.data.coco import Image, Split
from nas.data.resize import read_thumbnail
from nas.errors import DataError

SIDE = 16
"""Pixels of a thumbnail's side."""
ALIKE = 0.4
"""Distance, relative to contrast, below which thumbnails are alike; see `distances`.

Measured on FOD-A's videos: half of all successive frames are nearer, and 8 % of those five frames
apart. Photos that have nothing to do with each other are 1.2 to 1.6 apart there, in BCCD and on
photos of cards, and none below 0.8 in the last two.
"""
OVERLAP = 0.3
"""Least IoU of every pair of boxes of near-duplicates."""
_FLOOR = 1.0  # variance in grey levels that noise has in any photo
_SAMPLED = 128
_FEWEST = 32  # photos, below which an order tells nothing
_IN_ORDER = 0.5


class Thumbnails:
    """Thumbnails of a split's images, each made when it is asked for, and once.

    Args:
        split: The images.
    """

    def __init__(self, split: Split) -> None:
        self._images = split.images
        self._pixels: dict[int, np.ndarray | None] = {}

    def read(self, positions: np.ndarray) -> None:
        """Makes the thumbnails of some images, in threads."""
        missing = [int(p) for p in positions if int(p) not in self._pixels]
        with ThreadPoolExecutor(THREADS) as pool:
            results = pool.map(self._thumbnail, (self._images[position] for position in missing))
            self._pixels.update(zip(missing, results, strict=True))

    def distances(self, position: int, others: np.ndarray) -> np.ndarray:
        """Returns how far images are from one, relative to contrast, float64 (M,).

        The distance is the root mean square of the difference in grey levels, divided by the root
        mean of both variances: 0 is the same picture, √2 are pictures that have nothing to do with
        each other. Sums are whole numbers, so the result is the same on every machine. An image
        that can't be decoded is infinitely far.
        """
        result = np.full(len(others), np.inf)
        own = self._pixels[position]
        rows = [row for row, other in enumerate(others) if self._pixels[int(other)] is not None]
        if own is None or not rows:
            return result
        one = own.astype(np.int64).ravel()
        many = np.array([self._pixels[int(others[row])] for row in rows], dtype=np.int64)
        many = many.reshape(len(rows), -1)
        squares = ((many - one) ** 2).sum(axis=1) / one.size
        variances = (_variance(many) + _variance(one[None])) / 2
        result[rows] = np.sqrt(squares / (variances + _FLOOR))
        return result

    @staticmethod
    def _thumbnail(image: Image) -> np.ndarray | None:
        try:
            return read_thumbnail(image.path, SIDE)
        except DataError:
            return None


def _variance(pixels: np.ndarray) -> np.ndarray:
    """Returns the variance (M,) of pixels (M, n), from sums of whole numbers."""
    count = pixels.shape[1]
    mean = pixels.sum(axis=1) / count
    variance: np.ndarray = (pixels**2).sum(axis=1) / count - mean**2
    return variance


def is_in_order_of_time(thumbnails: Thumbnails, order: np.ndarray) -> bool:
    """Tells whether neighbours in an order look much more alike than other pairs.

    Args:
        thumbnails: Of the split.
        order: int (P,), positions of different photos in the order of their names.
    """
    if len(order) < _FEWEST:
        return False
    places = np.unique(np.linspace(0, len(order) - 2, min(_SAMPLED, len(order) - 1)).astype(int))
    thumbnails.read(np.concatenate([order[places], order[places + 1]]))
    strangers = np.roll(order[places + 1], len(places) // 2)
    near, far = (
        np.median(
            [
                thumbnails.distances(int(one), np.array([two]))[0]
                for one, two in zip(order[places], pairs, strict=True)
            ]
        )
        for pairs in (order[places + 1], strangers)
    )
    return bool(near < _IN_ORDER * far)


def near_duplicates(
    split: Split, thumbnails: Thumbnails, kept: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Returns how near each of some images comes to any of the images that are kept.

    Args:
        split: The images.
        thumbnails: Of the same split.
        kept: int (H,), positions of images.
        others: int (M,), positions of other ones.

    Returns:
        float64 (M,), the least distance to an image that is annotated alike; infinite where there
        is none, or none below `ALIKE`.
    """
    nearest = np.full(len(others), np.inf)
    pairs = list(_annotated_alike(split, kept, others))
    if not pairs:
        return nearest
    thumbnails.read(np.unique(np.concatenate([[one] for one, _ in pairs])))
    thumbnails.read(others[np.unique(np.concatenate([rows for _, rows in pairs]))])
    for one, rows in pairs:
        distance = thumbnails.distances(one, others[rows])
        nearest[rows] = np.minimum(nearest[rows], np.where(distance < ALIKE, distance, np.inf))
    return nearest


def _annotated_alike(
    split: Split, kept: np.ndarray, others: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields an image that is kept, and the rows of `others` that have the same boxes, about."""
    images = split.images
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, position in enumerate(others):
        groups[_labels(images[position])].append(row)
    boxes = {
        labels: np.stack([_boxes(images[others[row]]) for row in rows])
        for labels, rows in groups.items()
    }
    for position in kept:
        labels = _labels(images[position])
        if labels in groups:
            alike = _overlaps(boxes[labels], _boxes(images[position]))
            if alike.any():
                yield int(position), np.array(groups[labels])[alike]


def _labels(image: Image) -> tuple[int, ...]:
    return tuple(sorted(image.labels[~image.crowd].tolist()))


def _boxes(image: Image) -> np.ndarray:
    """Returns boxes (n, 4) as shares of the image, by class and then from left to right."""
    real = ~image.crowd
    boxes, labels = image.boxes[real].astype(np.float64), image.labels[real]
    ordered: np.ndarray = boxes[np.lexsort((boxes[:, 1], boxes[:, 0], labels))]
    return ordered / np.array([image.width, image.height] * 2)


def _overlaps(many: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Returns which of boxes (M, n, 4) overlap with boxes (n, 4), each with its own, bool (M,)."""
    shared = np.minimum(many[..., 2:], one[:, 2:]) - np.maximum(many[..., :2], one[:, :2])
    shared = np.maximum(shared, 0).prod(axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (many, one)]
    union = areas[0] + areas[1] - shared
    alike: np.ndarray = (shared >= OVERLAP * union).all(axis=-1)
    return alike
