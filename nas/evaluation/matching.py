"""Which detections hit: COCO's greedy matching, of all images at once, in numpy.

The same rules as pycocotools' `COCOeval`, crowds, ranges of area and ties of score or IoU included,
and many times faster: detections take turns by their rank, and in one turn those of all images and
classes choose together, for all thresholds and ranges of area.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from nas.evaluation.ap import ClassMatches
from nas.evaluation.detections import Detections, check, xywh

if TYPE_CHECKING:
    from nas.data.coco import Split

IOUS = np.linspace(0.5, 0.95, 10)  # as COCOeval's Params has them, to the bit
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""All, small, medium and large, in square pixels, both ends included: COCOeval's Params."""
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class _GroupedBoxes:
    """Boxes of a split or of detections, sorted by group; those of one group keep their order.

    Attributes:
        group: (n,) of an image and a class: place of the image times K, plus label less 1.
        rows: (n,) position of the image in the split.
        xywh: (n, 4).
        areas: (n,) in square pixels.
        scores: (n,) of detections; 0 for boxes of a split.
        crowd: (n,) of a split; False for detections.
    """

    group: NDArray[np.int64]
    rows: NDArray[np.int64]
    xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    scores: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def __getitem__(self, chosen: NDArray[Any]) -> _GroupedBoxes:
        return _GroupedBoxes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def ranks(self) -> NDArray[np.intp]:
        """Returns how many detections stand before each in its group."""
        return np.arange(len(self.group)) - np.searchsorted(self.group, self.group)


def match_classes(
    split: Split, detections: Detections, areas: Sequence[tuple[float, float]] = AREAS
) -> list[ClassMatches]:
    """Matches all images; returns an entry for each class, label 1 first.

    Of each image and class the best `MAX_DETECTIONS` are looked at.

    Args:
        split: Crowd boxes in it are neither to be found nor wrong to be found.
        detections: The detections of each image, by its id.
        areas: Smallest and largest area in square pixels; boxes and detections outside are
            neither to be found nor wrong to be found.

    Raises:
        DataError: A detection of an unknown image or class, or with a number that isn't finite.
    """
    check(split, detections)
    number = len(split.categories)
    # ties of score fall by image id, as COCOeval's do
    order = sorted(range(len(split.images)), key=lambda row: split.images[row].id)
    truths = _truths(split, order, number)
    guesses = _guesses(split, detections, order, number)
    guesses = guesses[guesses.ranks < MAX_DETECTIONS]
    low, high = np.array(areas, dtype=np.float64).T[:, :, None]
    ignored = truths.crowd | (truths.areas < low) | (truths.areas > high)  # (A, boxes)
    outside = (guesses.areas < low) | (guesses.areas > high)  # (A, n)
    hits, counted = _matched(guesses, truths, ignored)
    counted &= hits | ~outside[:, None]

    labels = guesses.group % number
    # Within a class by falling score; stable, so ties fall by image as COCOeval's do.
    by_score = np.lexsort((-guesses.scores, labels))
    edges = np.searchsorted(labels[by_score], np.arange(number + 1))
    boxes = np.zeros((number, len(areas), len(split.images)), dtype=np.int64)
    for a in range(len(areas)):
        kept = ~ignored[a]
        np.add.at(boxes, (truths.group[kept] % number, a, truths.rows[kept]), 1)
    return [
        ClassMatches(
            guesses.rows[own], guesses.ranks[own], hits[:, :, own], counted[:, :, own], boxes[k]
        )
        for k in range(number)
        for own in [by_score[edges[k] : edges[k + 1]]]
    ]


def _truths(split: Split, order: Sequence[int], number: int) -> _GroupedBoxes:
    images = [split.images[row] for row in order]
    counts = [len(image.labels) for image in images]
    places = np.repeat(np.arange(len(images)), counts)
    group = places * number + _joined([image.labels for image in images], np.int64) - 1
    boxes = _GroupedBoxes(
        group,
        np.repeat(np.array(order, dtype=np.int64), counts),
        xywh(_joined([image.boxes for image in images], np.float64, (0, 4))),
        _joined([image.areas for image in images], np.float64),
        np.zeros(len(group)),
        _joined([image.crowd for image in images], np.bool_),
    )
    return boxes[np.argsort(group, kind="stable")]


def _guesses(
    split: Split, detections: Detections, order: Sequence[int], number: int
) -> _GroupedBoxes:
    places = [place for place, row in enumerate(order) if split.images[row].id in detections]
    own = [detections[split.images[order[place]].id] for place in places]
    counts = [len(one["labels"]) for one in own]
    place = np.repeat(np.array(places, dtype=np.int64), counts)
    group = place * number + _joined([one["labels"] for one in own], np.int64) - 1
    boxes = xywh(_joined([one["boxes"] for one in own], np.float64, (0, 4)))
    scores = _joined([one["scores"] for one in own], np.float64)
    guesses = _GroupedBoxes(
        group,
        np.array(order, dtype=np.int64)[place],
        boxes,
        boxes[:, 2] * boxes[:, 3],
        scores,
        np.zeros(len(group), dtype=bool),
    )
    return guesses[np.lexsort((-scores, group))]  # stable


@dataclass(frozen=True)
class _Pairs:
    """Detections and boxes of one group that overlap enough for the lowest threshold.

    They are sorted by turn, then by detection, then by IoU; of equal IoU the box that stands later
    in the file is last.

    Attributes:
        turn: (P,) how many detections with a pair stand before this one in its group.
        guess: (P,) the detection.
        truth: (P,) the box.
        iou: (P,).
    """

    turn: NDArray[np.intp]
    guess: NDArray[np.intp]
    truth: NDArray[np.intp]
    iou: NDArray[np.float64]

    @classmethod
    def of(cls, guesses: _GroupedBoxes, truths: _GroupedBoxes) -> _Pairs:
        guess, truth, iou = (
            np.concatenate(part) for part in zip(*_overlaps(guesses, truths), strict=True)
        )
        near = iou >= IOUS[0]
        guess, truth, iou = guess[near], truth[near], iou[near]
        with_pair = np.unique(guess)
        group = guesses.group[with_pair]
        place = np.arange(len(group)) - np.searchsorted(group, group)
        turn = place[np.searchsorted(with_pair, guess)]
        order = np.lexsort((truth, iou, guess, turn))
        return cls(turn[order], guess[order], truth[order], iou[order])

    def turns(self) -> Iterator[_Pairs]:
        """Yields the pairs that are decided in each turn, in order."""
        edges = np.flatnonzero(np.diff(self.turn, prepend=-1, append=-1))
        for start, end in itertools.pairwise(edges):
            own = slice(start, end)
            yield _Pairs(self.turn[own], self.guess[own], self.truth[own], self.iou[own])


def _overlaps(guesses: _GroupedBoxes, truths: _GroupedBoxes) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yields all pairs of a group, group after group: detection, box, IoU."""
    yield np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    both = np.intersect1d(guesses.group, truths.group)
    crowd = truths.crowd.astype(np.uint8)
    for g, t in zip(_slices(guesses.group, both), _slices(truths.group, both), strict=True):
        ious = mask.iou(guesses.xywh[g], truths.xywh[t], crowd[t])
        first, second = np.indices(ious.shape)
        yield first.ravel() + g.start, second.ravel() + t.start, ious.ravel()


def _slices(groups: NDArray[np.int64], shared: NDArray[np.int64]) -> list[slice]:
    starts, ends = (np.searchsorted(groups, shared, side=side) for side in ("left", "right"))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]


def _matched(
    guesses: _GroupedBoxes, truths: _GroupedBoxes, ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Gives each detection, best first, the free box of highest IoU, or else an ignored one.

    Crowds are always free. Returns what was hit, and what matched nothing that is ignored, both
    (A, T, n).
    """
    shape = len(ignored), len(IOUS)
    hits = np.zeros((*shape, len(guesses.group)), dtype=bool)
    counted = np.ones_like(hits)
    claimed = np.zeros((*shape, len(truths.group)), dtype=bool)
    # COCO's matching is greedy within an image and a class: the k-th detection chooses when those
    # before it have chosen. Groups don't share boxes, so the k-th of all groups choose at once.
    for pairs in _Pairs.of(guesses, truths).turns():
        number = len(pairs.truth)
        starts = np.flatnonzero(np.diff(pairs.guess, prepend=-1))
        # Pairs of a detection stand from worst to best, so a pair's place is its rank; `number`
        # more puts any box that counts above every ignored one, whatever their IoU.
        value = np.arange(number) + number * ~ignored[:, pairs.truth]  # (A, P)
        legal = pairs.iou >= IOUS[:, None]  # (T, P)
        # A box is claimed by one detection only, but a crowd by any number of them.
        legal = legal & (truths.crowd[pairs.truth] | ~claimed[:, :, pairs.truth])
        # The best legal pair of each detection (A, T, detections of the turn); -1 is none.
        best = np.maximum.reduceat(np.where(legal, value[:, None], -1), starts, axis=-1)
        matched = best >= 0
        guess = pairs.guess[starts]
        hits[:, :, guess] = matched
        counted[:, :, guess] = ~matched | (best >= number)
        # No two detections of a turn claim one box, as each is of a group of its own.
        area, threshold, one = np.nonzero(matched)
        claimed[area, threshold, pairs.truth[best[area, threshold, one] % number]] = True
    return hits, counted


def _joined(
    arrays: Sequence[Any], kind: type[np.generic], empty: tuple[int, ...] = (0,)
) -> NDArray[Any]:
    """Concatenates arrays, of which there may be none."""
    return np.concatenate([np.zeros(empty, kind), *(np.asarray(one, kind) for one in arrays)])
