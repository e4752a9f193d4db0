"""Parts of a split: the hold-out that trials are scored on, and a smaller training set."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nas.data.coco import Split
from nas.data.duplicates import identical_files
from nas.data.settings import DataSettings
from nas.errors import DataError

_DRAWS = 32
_SHORTEST = 8  # images: shorter runs would have a training image next to nearly every one


def holdout(split: Split, settings: DataSettings, seed: int) -> tuple[Split, Split]:
    """Cuts a split into a training part and a hold-out.

    By blocks, images are taken in the natural order of their file names, in which neighbouring
    video frames are neighbours. The sequence is cut into up to `holdout_blocks` stretches of
    equal length, and one run is held out at a random place in each. Of 32 such draws the one is
    kept that leaves the most classes with boxes on both sides, or, if no class stands on both, one
    that leaves any box on each.

    Images with the same file content are drawn as one, so that no picture is trained on and
    judged on under another name.

    Returns:
        The training part and the hold-out, each in the order of `split`; the same for the same
        split, settings and seed.

    Raises:
        DataError: There are too few different images to have one on each side.
    """
    leaders = identical_files([image.path for image in split.images])
    pictures, picture_of = np.unique(leaders, return_inverse=True)  # in the order of `split`
    total = len(pictures)
    size = min(max(1, round(settings.holdout * total)), total - 1)
    if size < 1:
        raise DataError(_too_few(split))
    order = natural_order([str(split.images[leader].path) for leader in pictures])
    presence = np.zeros((total, len(split.categories)), dtype=bool)
    np.logical_or.at(presence, picture_of, _presence(split))
    best: tuple[tuple[int, int], np.ndarray] | None = None
    for draw in range(_DRAWS):
        rng = np.random.default_rng((abs(seed), draw))
        if settings.holdout_by == "blocks":
            chosen = order[_runs(total, size, settings.holdout_blocks, rng)]
        else:
            chosen = rng.permutation(total)[:size]
        mask = np.zeros(total, dtype=bool)
        mask[chosen] = True
        sides = presence[mask].any(axis=0), presence[~mask].any(axis=0)
        # Boxes on both sides decide only where no class has some on both.
        worth = int((sides[0] & sides[1]).sum()), sum(int(side.any()) for side in sides)
        if best is None or worth > best[0]:
            best = worth, mask
    assert best is not None
    held_out = best[1][picture_of]
    return (
        split.part(f"{split.name}/fit", np.flatnonzero(~held_out)),
        split.part(f"{split.name}/holdout", np.flatnonzero(held_out)),
    )


def _too_few(split: Split) -> str:
    count = len(split.images)
    one = f"{count} image" if count == 1 else f"{count} images of the same content"
    return f"{split.json_path}: {one} cannot be cut into training and hold-out; add images"


def subset(split: Split, images: int | None, seed: int) -> Split:
    """Draws at most `images` images evenly at random with `seed`, in the order of `split`."""
    if images is None or images >= len(split.images):
        return split
    rng = np.random.default_rng((abs(seed), len(split.images)))
    chosen = np.sort(rng.permutation(len(split.images))[:images])
    return split.part(f"{split.name}/{images}", chosen)


def natural_order(names: Sequence[str]) -> np.ndarray:
    """Positions (N,) that sort names with their numbers as numbers: `2.jpg` before `10.jpg`."""

    def parts(position: int) -> list[tuple[int, str]]:
        pieces = re.findall(r"\d+|\D+", names[position])
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]

    return np.array(sorted(range(len(names)), key=parts), dtype=np.int64)


def _runs(total: int, size: int, blocks: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (size,) of one run in each of up to `blocks` equal stretches of `total`."""
    blocks = max(1, min(blocks, size // _SHORTEST, (total - size) // _SHORTEST))
    stretches = np.array_split(np.arange(total), blocks)
    lengths = [len(part) for part in np.array_split(np.arange(size), blocks)]
    runs = []
    for stretch, length in zip(stretches, lengths, strict=True):
        start = int(rng.integers(len(stretch) - length + 1))
        runs.append(stretch[start : start + length])
    return np.concatenate(runs)


def _presence(split: Split) -> np.ndarray:
    """Returns bool (N, K): which images have a box of which class."""
    presence = np.zeros((len(split.images), len(split.categories)), dtype=bool)
    for position, image in enumerate(split.images):
        presence[position, image.labels[~image.crowd] - 1] = True
    return presence
