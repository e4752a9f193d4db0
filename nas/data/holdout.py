"""The hold-out that trials are scored on, its folds, and a smaller training set."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from nas.data.coco import Split
from nas.data.near_duplicates import Thumbnails, is_in_order_of_time, near_duplicates
from nas.data.photo_blocks import SHORTEST, Photos, draw_folds
from nas.data.settings import DataSettings, cache_directory
from nas.files import write_text

FEWEST_PHOTOS, FEWEST_BOXES = 48, 150
"""What a hold-out has at least, where that is not more than a third of `train`."""
SMALL_PHOTOS, SMALL_BOXES = 50, 300
"""A hold-out with fewer is small: scores carry its photos' luck, so repeats go round its folds."""
MOST_FOLDS = 4
GAP = 5
"""Photos left out on either side of a block, where the order of files is that of time."""
_LONGER = 20  # photos of a block then, so that gaps don't take more than is held out
_MOST_DROPPED = 0.5  # of the training part: a still camera's photos are all alike
_RULE = 2  # raise it when the same folder would be divided in another way


def holdout(split: Split, settings: DataSettings, seed: int, fold: int = 0) -> tuple[Split, Split]:
    """Cuts a split into a training part and a hold-out, and leaves out what would leak.

    The hold-out is the share `settings.holdout` of the photos, more where that is under 48 photos
    or about 150 boxes, but then at most a third. By blocks, photos are taken in the natural order
    of their file names, in which neighbouring video frames are neighbours: up to `holdout_blocks`
    runs of neighbours. Where neighbours look alike, 5 photos on either side of each run are in
    neither part. Nor are photos that are near-duplicates of a held one, wherever they stand.

    Images with the same file content are drawn as one, so that no picture is trained on and
    judged on under another name.

    Args:
        split: Such as `train`.
        settings: How large the hold-out is, and how it is drawn.
        seed: Other seeds draw other photos.
        fold: Which of the disjoint folds is held out, from 0; see `fold_count`.

    Returns:
        The training part and the hold-out, each in the order of `split`; the same for the same
        split, settings, seed and fold.

    Raises:
        DataError: There are too few different photos to have one in each part.
        ValueError: There is no such fold.
    """
    if not 0 <= fold < max(1, fold_count(split, settings)):
        raise ValueError(f"fold {fold}: there are {fold_count(split, settings)}")
    note = _note_path(split, settings, seed, fold)
    parts = _noted(note, len(split))
    if parts is None:
        parts = _drawn(split, settings, seed, fold)
        with contextlib.suppress(OSError):  # without the note the next process divides again
            note.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"holdout": parts[1].tolist(), "training": parts[0].tolist()})
            write_text(note, text, shared=True)
    name = f"{split.name}/holdout" + (f"-{fold}" if fold else "")
    return split.part(f"{split.name}/fit", parts[0]), split.part(name, parts[1])


def fold_count(split: Split, settings: DataSettings) -> int:
    """Returns how many folds repeats of a trial go round: 1 where the hold-out is large enough.

    Repeat r is scored on fold r modulo this; all first evaluations share fold 0.
    """
    size = _size(len(split), split.boxes, settings)
    boxes = size * split.boxes / max(1, len(split))
    if size >= SMALL_PHOTOS and boxes >= SMALL_BOXES:
        return 1
    return max(1, min(MOST_FOLDS, len(split) // max(1, size)))


def _size(photos: int, boxes: int, settings: DataSettings) -> int:
    """Returns how many photos are held out, of which at least one remains on either side."""
    share = round(settings.holdout * photos)
    # Boxes are counted by their mean over photos, so a tenth more: blocks differ.
    least = max(FEWEST_PHOTOS, math.ceil(1.1 * FEWEST_BOXES * photos / max(1, boxes)))
    return min(max(1, share, min(least, photos // 3)), photos - 1)


def _drawn(
    split: Split, settings: DataSettings, seed: int, fold: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the positions of the training part and of the hold-out."""
    photos, thumbnails = Photos.of(split), Thumbnails(split)
    blocks = settings.holdout_by == "blocks"
    in_order = blocks and is_in_order_of_time(thumbnails, photos.first[photos.order])
    size = _size(len(photos), split.boxes, settings)
    boxes = np.array([int((~image.crowd).sum()) for image in split.images], dtype=np.int64)
    masks = draw_folds(
        photos,
        size,
        seed,
        folds=min(fold_count(split, settings), len(photos) // size),
        by=settings.holdout_by,
        blocks=settings.holdout_blocks,
        shortest=_LONGER if in_order else SHORTEST,
        boxes=np.bincount(photos.of_image, weights=boxes),
    )
    scoring = masks[fold % len(masks)]
    dropped = _beside(scoring, photos.order) if in_order else np.zeros_like(scoring)
    dropped |= _too_near(split, thumbnails, photos, scoring, dropped)
    training = ~scoring & ~dropped
    return (
        np.flatnonzero(training[photos.of_image]),
        np.flatnonzero(scoring[photos.of_image]),
    )


def _beside(scoring: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns which photos (P,) stand within the gap of a held one, in the order of names."""
    in_order = scoring[order]
    near = np.convolve(in_order, np.ones(2 * GAP + 1), mode="same") > 0
    beside = np.zeros_like(scoring)
    beside[order] = near & ~in_order
    if (scoring | beside).all():  # hardly a photo would be left to train on
        return np.zeros_like(scoring)
    return beside


def _too_near(
    split: Split, thumbnails: Thumbnails, photos: Photos, scoring: np.ndarray, dropped: np.ndarray
) -> np.ndarray:
    """Returns which photos (P,) of the training part are near-duplicates of a held one.

    They are at most half of the part, those first that are nearest.
    """
    others = np.flatnonzero(~scoring & ~dropped)
    nearest = near_duplicates(split, thumbnails, photos.first[scoring], photos.first[others])
    ranked = np.argsort(nearest, kind="stable")[: int(_MOST_DROPPED * len(others))]
    near = np.zeros_like(scoring)
    near[others[ranked[np.isfinite(nearest[ranked])]]] = True
    return near


def _note_path(split: Split, settings: DataSettings, seed: int, fold: int) -> Path:
    rule = (settings.holdout, settings.holdout_by, settings.holdout_blocks, seed, fold)
    key = hashlib.sha256(f"{_RULE} {split.fingerprint} {rule}".encode()).hexdigest()
    return cache_directory(settings.cache_dir) / "holdout" / f"{key[:24]}.json"


def _noted(path: Path, images: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads the positions of both parts from a note; None where there is no sound one."""
    try:
        note = json.loads(path.read_text())
        parts = tuple(np.array(note[name], dtype=np.int64) for name in ("training", "holdout"))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    both = np.concatenate(parts) if all(p.ndim == 1 and len(p) for p in parts) else np.zeros(0)
    sound = len(both) and both.min() >= 0 and both.max() < images
    return (parts[0], parts[1]) if sound and len(np.unique(both)) == len(both) else None


def subset(split: Split, images: int | None, seed: int) -> Split:
    """Draws at most `images` images evenly at random with `seed`, in the order of `split`."""
    if images is None or images >= len(split.images):
        return split
    rng = np.random.default_rng((abs(seed), len(split.images)))
    chosen = np.sort(rng.permutation(len(split.images))[:images])
    return split.part(f"{split.name}/{images}", chosen)
