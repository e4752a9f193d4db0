"""One class's detections over a split, right or wrong: what precision and recall are taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)  # as COCOeval's Params has them, to the bit


@dataclass(frozen=True)
class ClassMatches:
    """One class's detections over all images, by falling score.

    A is the number of ranges of area that were asked for, T that of thresholds of IoU. What is
    kept is per image, so that images can be weighted or drawn again without matching anew.

    Attributes:
        rows: (n,) position of the image in the split.
        ranks: (n,) how many detections of the class in the same image score higher.
        hits: (A, T, n) it matched a box or a crowd.
        counted: (A, T, n) it is right or wrong; False where it matched a crowd or a box outside
            the range of area, or matched nothing and is outside the range itself.
        boxes: (A, images) number of boxes to be found in each image.
    """

    rows: NDArray[np.intp]
    ranks: NDArray[np.intp]
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    boxes: NDArray[np.int64]

    def average_precision(
        self, threshold: int, weights: NDArray[np.float64] | None = None, *, area: int = 0
    ) -> NDArray[np.float64]:
        """Returns the mean of precision over `RECALLS`, (D,); NaN where no box is to be found.

        Args:
            threshold: Position of the threshold of IoU.
            weights: (D, images), how often each image counts in D redrawn splits; None counts
                each once, D = 1.
            area: Position of the range of area.
        """
        if weights is None:
            weights = np.ones((1, self.boxes.shape[1]))
        total = weights @ self.boxes[area]
        if not total.any():
            return np.full(len(weights), np.nan)
        best, reached = self._steps(threshold, weights, area, total)
        points = np.diff(reached, axis=1, prepend=0)  # of RECALLS, that each hit is first to reach
        return np.where(total > 0, (best * points).sum(axis=1) / len(RECALLS), np.nan)

    def precision(self, threshold: int, *, area: int = 0) -> NDArray[np.float64]:
        """Returns the best precision at each of `RECALLS` or above, (101,); 0 if none gets there.

        All is NaN where no box is to be found.
        """
        weights = np.ones((1, self.boxes.shape[1]))
        total = weights @ self.boxes[area]
        if not total.any():
            return np.full(len(RECALLS), np.nan)
        best, reached = self._steps(threshold, weights, area, total)
        first = np.searchsorted(reached[0], np.arange(len(RECALLS)), side="right")
        return np.append(best[0], 0.0)[first]

    def recall(self, most: int, *, area: int = 0) -> NDArray[np.float64]:
        """Returns the share of boxes found at each threshold, (T,); NaN where there is no box.

        Args:
            most: Detections that are looked at in an image.
            area: Position of the range of area.
        """
        total = self.boxes[area].sum()
        if not total:
            return np.full(self.hits.shape[1], np.nan)
        right = self.hits[area] & self.counted[area]
        return right[:, self.ranks < most].sum(axis=1) / total

    def _steps(
        self,
        threshold: int,
        weights: NDArray[np.float64],
        area: int,
        total: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Returns at each right detection the best precision from there on, and recalls reached.

        Both are (D, hits); the second counts how many of RECALLS the recall is at or above.
        """
        hit, counted = self.hits[area, threshold], self.counted[area, threshold]
        at = np.flatnonzero(hit & counted)  # recall rises, and precision peaks, only there
        end = at[-1] + 1 if len(at) else 0
        each = weights[:, self.rows[:end]]
        wrong = np.cumsum(each * (~hit & counted)[:end], axis=1)[:, at]
        right = np.cumsum(each[:, at], axis=1)
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            reached = np.searchsorted(RECALLS, right / total[:, None], side="right")
        return best, reached
