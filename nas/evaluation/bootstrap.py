"""How sure a difference of AP50 is: a block bootstrap over the images of a split."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.ap import ClassMatches
from nas.evaluation.detections import Detections
from nas.evaluation.matching import AREAS, match_classes

if TYPE_CHECKING:
    from nas.data.coco import Split


_TOGETHER = 50  # draws evaluated in one go, to bound memory


@dataclass(frozen=True)
class Difference:
    """AP50 of the first set of detections minus that of the second, with its interval."""

    value: float
    low: float
    high: float
    confidence: float
    draws: int
    block: int  # images in a row that are drawn together

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def ap50_difference(
    split: Split,
    first: Detections,
    second: Detections,
    *,
    draws: int = 1000,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Returns the difference of AP50 and its percentile interval over redrawn images.

    Images are drawn in contiguous runs of the split's order, which may wrap around (Politis and
    Romano 1992, the circular block bootstrap), since neighbours are often frames of one video.
    The detections are matched once; a draw only weights the images.

    Args:
        split: Its order of images is taken as the order in time.
        first: Detections of one detector on the split.
        second: Detections of another one.
        draws: Number of redrawn splits.
        block: Images in a row; None takes the square root of their number.
        confidence: Share of the draws inside the interval.
        seed: Seed of the draws.
    """
    matched = [match_classes(split, detections, AREAS[:1]) for detections in (first, second)]
    number = len(split.images)
    block = min(number, block or round(math.sqrt(number)))
    rng = np.random.default_rng(seed)
    drawn = np.stack([block_weights(rng, number, block) for _ in range(draws)])
    differences = np.concatenate(
        [
            _difference(matched, drawn[start : start + _TOGETHER])
            for start in range(0, draws, _TOGETHER)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(differences, [tail, 1 - tail])
    value = _difference(matched, np.ones((1, number)))[0]
    return Difference(float(value), float(low), float(high), confidence, draws, block)


def block_weights(rng: np.random.Generator, number: int, block: int) -> NDArray[np.float64]:
    """Draws how often each of `number` images counts, in runs of `block`; they sum to `number`."""
    starts = rng.integers(number, size=-(-number // block))
    drawn = (starts[:, None] + np.arange(block)).ravel()[:number] % number
    return np.bincount(drawn, minlength=number).astype(float)


def _difference(
    matched: list[list[ClassMatches]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns AP50 of the first minus that of the second, (D,), over classes with boxes drawn."""
    first, second = (
        np.stack([matches.average_precision(0, weights) for matches in classes])
        for classes in matched
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw without any box is NaN
        return np.nanmean(first, axis=0) - np.nanmean(second, axis=0)
