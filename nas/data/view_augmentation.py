"""Augmented inputs: which views are shown in a batch, their pixels and their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.data.mosaic import draw_mosaic
from nas.data.settings import AugmentSettings
from nas.data.source import SplitSource
from nas.data.views import PhotoView, Target, draw_view
from nas.errors import DataError


class Augmentation:
    """Draws views of photos, one or four an input, and makes inputs of them.

    All that is random is drawn in `draw`, for a whole batch, so that workers that paint a share of
    it see the same batch.

    Args:
        source: Pixels and boxes.
        settings: What may happen to a photo.
        target: The input.

    Raises:
        DataError: The cached squares aren't `oversample` times as large as the input.
    """

    def __init__(self, source: SplitSource, settings: AugmentSettings, target: Target) -> None:
        if source.size != target.size * settings.oversample:
            raise DataError(
                f"the pixel cache holds squares of {source.size} px, and inputs of {target.size} "
                f"px with oversample {settings.oversample} need "
                f"{target.size * settings.oversample} px"
            )
        self._source, self._settings, self._target = source, settings, target

    def draw(
        self, rng: np.random.Generator, positions: np.ndarray, pool: np.ndarray, share: float
    ) -> list[list[PhotoView]]:
        """Draws the views of each input of a batch.

        Args:
            rng: Source of all that is drawn.
            positions: int (B,), the photos whose turn it is.
            pool: int (P,), the photos that mosaics take their other three from.
            share: How much of the training lies before this batch, from 0 to 1.
        """
        settings, source = self._settings, self._source
        mosaics = settings.mosaic if share < settings.mosaic_until else 0.0
        target = self._target
        views = []
        for position in positions:
            # The generator of each input is its own: what happens to one changes no other.
            own = np.random.default_rng(rng.integers(2**63))
            if own.random() < mosaics:
                four = [position, *own.choice(pool, 3)]
                views.append(draw_mosaic(own, settings, four, source.content[four], target))
            else:
                content, (boxes, _) = source.content[position], source.of(position)
                view = draw_view(own, settings, int(position), content, boxes, target)
                views.append([view])
        return views

    def pixels(self, views: Sequence[Sequence[PhotoView]]) -> np.ndarray:
        """Paints inputs uint8 (B, S, S, 3); what no photo covers is black, as padding is."""
        size = self._target.size
        inputs = np.zeros((len(views), size, size, 3), dtype=np.uint8)
        shown = np.unique([view.position for own in views for view in own])
        squares = dict(zip(shown.tolist(), self._source.read(shown), strict=True))
        for target, own in zip(inputs, views, strict=True):
            for view in own:
                width, height = self._source.content[view.position]
                view.paint(target, squares[view.position][:height, :width])
        return inputs

    def boxes(self, views: Sequence[Sequence[PhotoView]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns boxes float32 (B, M, 4) and labels int64 (B, M), padded with zeros."""
        pairs = []
        for own in views:
            parts = [
                view.boxes(*self._source.of(view.position), self._source.content[view.position])
                for view in own
            ]
            pairs.append([np.concatenate(column) for column in zip(*parts, strict=True)])
        most = max((len(labels) for _, labels in pairs), default=0)
        boxes = np.zeros((len(pairs), most, 4), dtype=np.float32)
        labels = np.zeros((len(pairs), most), dtype=np.int64)
        for row, (own_boxes, own_labels) in enumerate(pairs):
            boxes[row, : len(own_boxes)] = own_boxes
            labels[row, : len(own_labels)] = own_labels
        return boxes, labels
