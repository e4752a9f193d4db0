"""Divides the photos of a split: in blocks of neighbouring files, or one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.data.coco import Split
from nas.data.duplicates import identical_files
from nas.errors import DataError

Division = Literal["blocks", "images"]
"""Whether neighbouring files stay together, or each photo is drawn by itself."""

SHORTEST = 8
"""Photos of a block: in shorter ones, nearly every photo has a neighbour on the other side."""
_DRAWS = 32


@dataclass(frozen=True, eq=False)
class Photos:
    """The different photos of a split: images with the same file content are one.

    Attributes:
        first: int (P,), the first image of each photo, rising.
        of_image: int (N,), the photo of each image.
        order: int (P,), the photos in the natural order of their file names, in which neighbouring
            frames of a video are neighbours.
        presence: bool (P, K), which photos have a box of which class.
    """

    first: np.ndarray
    of_image: np.ndarray
    order: np.ndarray
    presence: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, split: Split) -> Photos:
        """Returns the photos of a split.

        Raises:
            DataError: There are fewer than two, so that there is nothing to divide.
        """
        first, of_image = np.unique(
            identical_files([image.path for image in split.images]), return_inverse=True
        )
        if len(first) < 2:
            count = len(split.images)
            one = f"{count} image" if count == 1 else f"{count} images of the same content"
            raise DataError(
                f"{split.json_path}: {one} cannot be cut into training and hold-out; add images"
            )
        presence = np.zeros((len(first), len(split.categories)), dtype=bool)
        for photo, image in zip(of_image, split.images, strict=True):
            presence[photo, image.labels[~image.crowd] - 1] = True
        order = natural_order([str(split.images[position].path) for position in first])
        return cls(first, of_image, order, presence)


def divide(
    split: Split, share: float, seed: int, *, by: Division = "blocks", blocks: int = 40
) -> tuple[Split, Split]:
    """Cuts a split in two, of which the second has the given share of the photos.

    Args:
        split: What is cut.
        share: Share of the different photos that go to the second part; each part has one at least.
        seed: Other seeds draw other photos.
        by: See `draw_folds`.
        blocks: Likewise.

    Returns:
        Both parts, each in the order of `split`, together all of it.

    Raises:
        DataError: There are too few different photos.
    """
    photos = Photos.of(split)
    size = min(max(1, round(share * len(photos))), len(photos) - 1)
    second = draw_folds(photos, size, seed, by=by, blocks=blocks)[0][photos.of_image]
    return (
        split.part(f"{split.name}/fit", np.flatnonzero(~second)),
        split.part(f"{split.name}/holdout", np.flatnonzero(second)),
    )


def draw_folds(
    photos: Photos,
    size: int,
    seed: int,
    *,
    folds: int = 1,
    by: Division = "blocks",
    blocks: int = 40,
    shortest: int = SHORTEST,
    boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Draws disjoint folds of `size` photos.

    By blocks, the natural order of names is cut into up to `blocks` stretches of equal length, and
    each fold has one run of neighbours at a random place in each stretch. Of 32 such draws the one
    is kept that leaves the most classes with boxes on both sides of its folds, or, if no class
    stands on both, one that leaves any box on each; of equal ones that whose poorest fold has the
    most boxes, where `boxes` is given, else the first.

    Args:
        photos: What is drawn from.
        size: Photos of a fold.
        seed: Other seeds draw other photos.
        folds: How many; `folds * size` photos at most are there.
        by: `blocks`, or single `images`.
        blocks: Runs of a fold, at most.
        shortest: Least length of a run where there are several.
        boxes: int (P,), how many boxes each photo has.

    Returns:
        bool (folds, P).
    """
    best: tuple[tuple[int, int, int], np.ndarray] | None = None
    for draw in range(_DRAWS):
        rng = np.random.default_rng((abs(seed), draw))
        if by == "blocks":
            chosen = [
                photos.order[own] for own in _runs(photos, size, folds, blocks, shortest, rng)
            ]
        else:
            mixed = rng.permutation(len(photos))
            chosen = [mixed[fold * size : (fold + 1) * size] for fold in range(folds)]
        masks = np.zeros((folds, len(photos)), dtype=bool)
        for mask, own in zip(masks, chosen, strict=True):
            mask[own] = True
        fewest = 0 if boxes is None else min(int(boxes[mask].sum()) for mask in masks)
        worth = (*_worth(masks, photos.presence), fewest)
        if best is None or worth > best[0]:
            best = worth, masks
    assert best is not None
    return best[1]


def _worth(masks: np.ndarray, presence: np.ndarray) -> tuple[int, int]:
    """Counts classes on both sides of each fold, and then sides that have any box."""
    both = either = 0
    for mask in masks:
        sides = presence[mask].any(axis=0), presence[~mask].any(axis=0)
        both += int((sides[0] & sides[1]).sum())
        either += sum(int(side.any()) for side in sides)
    return both, either


def _runs(
    photos: Photos, size: int, folds: int, blocks: int, shortest: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draws for each fold its places (size,) in the natural order: a run in each stretch."""
    total = len(photos)
    blocks = max(1, min(blocks, size // shortest, (total - size) // shortest))
    runs: list[list[np.ndarray]] = [[] for _ in range(folds)]
    for stretch, own in zip(
        np.array_split(np.arange(total), blocks),
        np.array_split(np.arange(size), blocks),
        strict=True,
    ):
        # Each fold has a part of the stretch for itself, so that folds are disjoint; which part is
        # drawn anew in each stretch, so that no fold is always the earlier one.
        parts = np.array_split(stretch, folds)
        turn = rng.permutation(folds) if folds > 1 else np.zeros(1, dtype=np.int64)
        for fold, part in enumerate(turn):
            length = min(len(own), len(parts[part]))
            start = int(rng.integers(len(parts[part]) - length + 1))
            runs[fold].append(parts[part][start : start + length])
    return [np.concatenate(fold) for fold in runs]


def natural_order(names: Sequence[str]) -> np.ndarray:
    """Returns positions (N,) that sort names with numbers as numbers: `2.jpg` before `10.jpg`."""

    def parts(position: int) -> list[tuple[int, str]]:
        pieces = re.findall(r"\d+|\D+", names[position])
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]

    return np.array(sorted(range(len(names)), key=parts), dtype=np.int64)
