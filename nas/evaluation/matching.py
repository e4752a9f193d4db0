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
class _Boxes:
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

    def __getitem__(self, chosen: NDArray[Any]) -> _Boxes:
        return _Boxes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def ranks(self) -> NDArray[np.intp]:
        """How many stand before each in its group."""
        return np.arange(len(self.group)) - np.searchsorted(self.group, self.group)


def match_classes(
    split: Split, detections: Detections, areas: Sequence[tuple[float, float]] = AREAS
) -> list[ClassMatches]:
    """Matches all images; returns an entry for each class, label 1 first.

    Of each image and class the best `MAX_DETECTIONS` are looked at.

    Args:
        split: crowd boxes in it are neither to be found nor wrong to be found.
        detections: by image id.
        areas: smallest and largest area in square pixels; boxes and detections outside are
            neither to be found nor wrong to be found.

    Raises:
        DataError: a detection of an unknown image or class, or with a number that isn't finite.
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
    by_score = np.lexsort((-guesses.scores, labels))  # stable
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


def _truths(split: Split, order: Sequence[int], number: int) -> _Boxes:
    images = [split.images[row] for row in order]
    counts = [len(image.labels) for image in images]
    places = np.repeat(np.arange(len(images)), counts)
    group = places * number + _joined([image.labels for image in images], np.int64) - 1
    boxes = _Boxes(
        group,
        np.repeat(np.array(order, dtype=np.int64), counts),
        xywh(_joined([image.boxes for image in images], np.float64, (0, 4))),
        _joined([image.areas for image in images], np.float64),
        np.zeros(len(group)),
        _joined([image.crowd for image in images], np.bool_),
    )
    return boxes[np.argsort(group, kind="stable")]


def _guesses(split: Split, detections: Detections, order: Sequence[int], number: int) -> _Boxes:
    places = [place for place, row in enumerate(order) if split.images[row].id in detections]
    found = [detections[split.images[order[place]].id] for place in places]
    counts = [len(one["labels"]) for one in found]
    place = np.repeat(np.array(places, dtype=np.int64), counts)
    group = place * number + _joined([one["labels"] for one in found], np.int64) - 1
    boxes = xywh(_joined([one["boxes"] for one in found], np.float64, (0, 4)))
    scores = _joined([one["scores"] for one in found], np.float64)
    guesses = _Boxes(
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
    def of(cls, guesses: _Boxes, truths: _Boxes) -> _Pairs:
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
        """Those of each turn."""
        edges = np.flatnonzero(np.diff(self.turn, prepend=-1, append=-1))
        for start, end in itertools.pairwise(edges):
            own = slice(start, end)
            yield _Pairs(self.turn[own], self.guess[own], self.truth[own], self.iou[own])


def _overlaps(guesses: _Boxes, truths: _Boxes) -> Iterator[tuple[NDArray[Any], ...]]:
    """All pairs of a group, group after group: detection, box, IoU."""
    yield np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    both = np.intersect1d(guesses.group, truths.group)
    crowd = truths.crowd.astype(np.uint8)
    for g, t in zip(_slices(guesses.group, both), _slices(truths.group, both), strict=True):
        ious = mask.iou(guesses.xywh[g], truths.xywh[t], crowd[t])
        first, second = np.indices(ious.shape)
        yield first.ravel() + g.start, second.ravel() + t.start, ious.ravel()


def _slices(groups: NDArray[np.int64], wanted: NDArray[np.int64]) -> list[slice]:
    starts, ends = (np.searchsorted(groups, wanted, side=side) for side in ("left", "right"))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]


def _matched(
    guesses: _Boxes, truths: _Boxes, ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Gives each detection, best first, the free box of highest IoU, or else an ignored one.

    Crowds are always free. Returns what was hit, and what matched nothing that is ignored, both
    (A, T, n).
    """
    shape = len(ignored), len(IOUS)
    hits = np.zeros((*shape, len(guesses.group)), dtype=bool)
    counted = np.ones_like(hits)
    taken = np.zeros((*shape, len(truths.group)), dtype=bool)
    for pairs in _Pairs.of(guesses, truths).turns():
        number = len(pairs.truth)
        starts = np.flatnonzero(np.diff(pairs.guess, prepend=-1))
        # Pairs of a detection stand from worst to best, and ignored boxes come after all others.
        value = np.arange(number) + number * ~ignored[:, pairs.truth]  # (A, P)
        legal = pairs.iou >= IOUS[:, None]  # (T, P)
        legal = legal & (truths.crowd[pairs.truth] | ~taken[:, :, pairs.truth])
        best = np.maximum.reduceat(np.where(legal, value[:, None], -1), starts, axis=-1)
        found = best >= 0
        guess = pairs.guess[starts]
        hits[:, :, guess] = found
        counted[:, :, guess] = ~found | (best >= number)
        area, threshold, one = np.nonzero(found)
        taken[area, threshold, pairs.truth[best[area, threshold, one] % number]] = True
    return hits, counted


def _joined(
    arrays: Sequence[Any], kind: type[np.generic], empty: tuple[int, ...] = (0,)
) -> NDArray[Any]:
    """One array of many, or of none."""
    return np.concatenate([np.zeros(empty, kind), *(np.asarray(one, kind) for one in arrays)])
