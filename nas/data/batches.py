"""Batches of cached pixels with their boxes, as tensors."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from nas.data.cache import PixelCache
from nas.data.coco import Split
from nas.data.flip_jitter import Jitter, flip_boxes, flip_pixels, jitter_boxes, jitter_pixels
from nas.data.iou_crop import IoUCrop, crop_boxes, crop_pixels
from nas.data.resize import Placement
from nas.data.settings import AugmentSettings
from nas.data.source import SplitSource
from nas.data.view_augmentation import Augmentation
from nas.data.views import Target
from nas.errors import DataError


@dataclass
class Batch:
    """Images and boxes of one step.

    Attributes:
        images: uint8 (B, 3, S, S) in channels-last memory.
        boxes: float32 (B, M, 4), xyxy in pixels of the input, zero where there is none.
        labels: int64 (B, M), 1 to K, 0 where there is no box.
        image_ids: The user's ids.
        placements: Where each image lies in its input; empty for training batches, whose
            images are moved by augmentation.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    image_ids: list[int]
    placements: list[Placement] = field(default_factory=list)


def as_batch(
    source: SplitSource,
    positions: np.ndarray,
    pixels: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
) -> Batch:
    """Makes a batch of arrays: pixels (B, S, S, 3), boxes (B, M, 4) and labels (B, M)."""
    return Batch(
        # The cache holds rows of RGB pixels, which is what channels-last memory is.
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        boxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        image_ids=source.image_ids[positions].tolist(),
    )


LastBatch = Literal["drop", "fill"]


def steps_an_epoch(images: int, batch_size: int, last_batch: LastBatch) -> int:
    """Returns the batches of an epoch; images that are less than one batch still make one."""
    return max(1, images // batch_size if last_batch == "drop" else math.ceil(images / batch_size))


def part_of(count: int, number: int, parts: int) -> slice:
    """Returns the rows of part `number` of `parts`, of nearly equal length, of `count` rows."""
    return slice(number * count // parts, (number + 1) * count // parts)


class TrainBatches:
    """Shuffled and augmented batches, a pure function of seed, epoch and step.

    Args:
        cache: The pixels.
        split: The split that the cache was opened for.
        batch_size: Images a batch.
        seed: Seed of the order and of the augmentation.
        flip: Whether to mirror every other image, at random.
        jitter: Range of random scales, such as (0.8, 1.2): larger images are cropped at random,
            smaller ones padded at the right and at the bottom. None leaves the scale.
        iou_crop: Whether to crop first, around at least one box (`nas.data.iou_crop`).
        augment: Takes the place of jitter and crop, and may do more (`nas.data.view_augmentation`).
            The cache then has squares of `augment.oversample` times the input's side.
        flip_vertical: Whether to mirror upside down too; with `augment` alone.
        quarter_turns: Whether to turn by quarters; likewise.
        epochs: Length of the whole training, by which it is known when mosaics end.
        last_batch: What becomes of the images that don't fill a last batch: `drop` leaves them
            out, `fill` adds the epoch's first ones. A split of less than one batch still gives
            one, as it is.
        empty_images: Whether images without a box are shown.
        workers: Threads that prepare batches ahead; 0 prepares each when it is asked for, which
            costs 1-2 % of a step of a proxy trial. The batches are the same.
        share: Which part of every batch is wanted: number from 0, and of how many. Parts are
            runs of images, alike in length, and put together they are the batch of the whole:
            whatever is random is drawn for all of it. Only a part's own pixels are read.

    Attributes:
        images: Images of each batch, all parts together.

    Raises:
        DataError: Some part would have no image.

    Example:
        >>> batches = TrainBatches(cache, split, batch_size=16, seed=0)
        >>> for batch in batches.epoch(3, start_step=120):  # resumes where a run stopped
        ...     model.losses(batch.images, batch.boxes, batch.labels)
    """

    def __init__(
        self,
        cache: PixelCache,
        split: Split,
        batch_size: int,
        seed: int,
        *,
        flip: bool = True,
        jitter: tuple[float, float] | None = None,
        iou_crop: bool = False,
        augment: AugmentSettings | None = None,
        flip_vertical: bool = False,
        quarter_turns: bool = False,
        epochs: int = 1,
        last_batch: LastBatch = "drop",
        empty_images: bool = True,
        workers: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._source = SplitSource(cache, split)
        self._share = share
        self._batch_size = batch_size
        self._seed = abs(seed)
        self._flip = flip
        self._jitter = jitter
        self._iou_crop = iou_crop
        self._epochs = epochs
        self._augmentation: Augmentation | None = None
        if augment is not None:
            size = cache.size // augment.oversample
            target = Target(size, cache.rule, flip, flip_vertical, quarter_turns)
            self._augmentation = Augmentation(self._source, augment, target)
        self._last_batch = last_batch
        self._workers = workers
        self._positions = self._source.positions
        if not empty_images:
            self._positions = self._positions[self._source.has_boxes[self._positions]]
        self.images = min(batch_size, len(self._positions))
        if self.images < share[1]:
            raise DataError(
                f"{split.json_path}: a batch has {self.images} images, too few for {share[1]} "
                "workers"
            )

    def __len__(self) -> int:
        """Returns the number of batches, the last of which may be smaller."""
        return steps_an_epoch(len(self._positions), self._batch_size, self._last_batch)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from `start_step` on."""
        shuffled = np.random.default_rng((self._seed, epoch, 0)).permutation(self._positions)
        if len(shuffled) > self._batch_size:
            shuffled = np.resize(shuffled, len(self) * self._batch_size)  # repeats from its start

        def prepare(step: int) -> Batch:
            positions = shuffled[step * self._batch_size : (step + 1) * self._batch_size]
            rng = np.random.default_rng((self._seed, epoch, 1, step))
            if self._augmentation is None:
                return self._augmented(positions, rng)
            share = (epoch + step / len(self)) / self._epochs
            return self._viewed(self._augmentation, positions, rng, share)

        steps = range(start_step, len(self))
        if not self._workers:
            yield from map(prepare, steps)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            ahead: deque[Future[Batch]] = deque()
            # Twice as many as threads: enough to keep them busy, and little memory.
            remaining = iter(steps)
            for step in itertools.islice(remaining, 2 * self._workers):
                ahead.append(pool.submit(prepare, step))
            while ahead:
                batch = ahead.popleft().result()
                for step in itertools.islice(remaining, 1):
                    ahead.append(pool.submit(prepare, step))
                yield batch

    def _augmented(self, positions: np.ndarray, rng: np.random.Generator) -> Batch:
        source = self._source
        own = part_of(len(positions), *self._share)
        pixels = source.read(positions[own])
        boxes, labels = source.gather(positions)
        content = source.content[positions]
        if self._iou_crop:
            crop = IoUCrop.draw(rng, source.photos[positions], content, boxes, labels)
            boxes, labels = crop_boxes(boxes, labels, content, crop, source.size, source.rule)
            pixels = crop_pixels(pixels, content[own], crop.of(own), source.rule)
            content = crop.content(source.size, source.rule)
        if self._flip:
            chosen = rng.random(len(positions)) < 0.5
            pixels = flip_pixels(pixels, content[own], chosen[own])
            boxes = flip_boxes(boxes, labels, content, chosen)
        if self._jitter is not None:
            jitter = Jitter.draw(rng, content, source.size, self._jitter)
            pixels = jitter_pixels(pixels, content[own], jitter.of(own))
            boxes, labels = jitter_boxes(boxes, labels, content, jitter)
        return as_batch(source, positions[own], pixels, boxes[own], labels[own])

    def _viewed(
        self,
        augmentation: Augmentation,
        positions: np.ndarray,
        rng: np.random.Generator,
        share: float,
    ) -> Batch:
        """Makes a batch of views; `share` of the training lies before it."""
        own = part_of(len(positions), *self._share)
        views = augmentation.draw(rng, positions, self._positions, share)
        boxes, labels = augmentation.boxes(views)
        pixels = augmentation.pixels(views[own])
        return as_batch(self._source, positions[own], pixels, boxes[own], labels[own])


class EvalBatches:
    """All usable images in order, as they are, with the placements to take detections back.

    Example:
        >>> for batch in EvalBatches(cache, split, batch_size=16):
        ...     for one, place in zip(model.detect(batch.images), batch.placements):
        ...         place.to_image(one["boxes"].numpy())
    """

    def __init__(self, cache: PixelCache, split: Split, batch_size: int) -> None:
        self._source = SplitSource(cache, split)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Returns the number of batches, the last of which may be smaller."""
        return math.ceil(len(self._source.positions) / self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        source = self._source
        for step in range(len(self)):
            start = step * self._batch_size
            positions = source.positions[start : start + self._batch_size]
            boxes, labels = source.gather(positions)
            batch = as_batch(source, positions, source.read(positions), boxes, labels)
            batch.placements = [source.placements[position] for position in positions]
            yield batch
