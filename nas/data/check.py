"""`nas data check`: everything in a data folder that can't be used, and what the rest is like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.annotations import read_annotations
from nas.data.cache import Progress
from nas.data.coco import Category, Image, Split, assemble, class_names, count
from nas.data.layout import SplitName, find_layout
from nas.data.problems import Problem
from nas.data.resize import ResizeRule, placement, read_rgb
from nas.errors import DataError


@dataclass(frozen=True)
class Summary:
    """One split in numbers.

    Attributes:
        name: `train` or `val`.
        images: Usable images.
        empty: Those of them without boxes.
        boxes: Usable boxes, crowds left out.
        crowds: Crowd boxes.
        per_class: Boxes of each class by name, and by id where two share a name.
        sides: 5th, 50th and 95th percentile of the square root of the boxes' areas, in px.
    """

    name: str
    images: int
    empty: int
    boxes: int
    crowds: int
    per_class: dict[str, int]
    sides: tuple[float, float, float]

    def __str__(self) -> str:
        low, middle, high = self.sides
        rare = sum(number < 10 for number in self.per_class.values())
        return (
            f"{self.name}: {self.images} images ({self.empty} without boxes), {self.boxes} boxes "
            f"and {self.crowds} crowds of {len(self.per_class)} classes ({rare} with fewer than "
            f"10 boxes), typical side {middle:.0f} px (5-95 %: {low:.0f}-{high:.0f})"
        )


@dataclass(frozen=True)
class Report:
    """What `check` found; printing it gives the whole text."""

    summaries: tuple[Summary, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything can be used."""
        return not self.problems

    def __str__(self) -> str:
        verdict = (
            f"{len(self.problems)} problems: {count(self.problems)}" if self.problems else "ok"
        )
        return "\n".join([*map(str, self.problems), *map(str, self.summaries), verdict])


def check(root: Path | str, progress: Progress | None = None) -> Report:
    """Reads all annotations and decodes all images of a folder.

    Args:
        root: A data folder in any layout that is understood.
        progress: Told about the images decoded, and of how many.

    Raises:
        DataError: There are no training annotations, or a file isn't COCO's format at all.
    """
    splits = [_read(root, "train", None)]
    try:
        find_layout(root, "val")
    except DataError as error:
        splits[0][1].append(Problem("no validation split", str(root), "val", str(error)))
    else:
        splits.append(_read(root, "val", splits[0][0].categories))
    total = sum(len(split.images) for split, _ in splits)
    problems: list[Problem] = []
    seen: dict[bytes, tuple[str, Image]] = {}
    done = 0
    for split, found in splits:
        problems += found
        file = str(split.json_path.relative_to(split.root))
        for image, result in zip(split.images, _decoded(split), strict=True):
            subject = f"image {image.id} ({image.path.name})"
            if isinstance(result, DataError):
                problems.append(Problem("truncated image", file, subject, str(result)))
            elif (other := seen.setdefault(result, (split.name, image)))[0] != split.name:
                detail = f"same pixels as {other[1].path.name} of {other[0]}"
                problems.append(Problem("picture in both splits", file, subject, detail))
            done += 1
            if progress:
                progress(done, total)
    return Report(tuple(_summary(split) for split, _ in splits), tuple(problems))


def _read(
    root: Path | str, name: SplitName, categories: Sequence[Category] | None
) -> tuple[Split, list[Problem]]:
    wanted = None if categories is None else [(c.id, c.name) for c in categories]
    return assemble(read_annotations(find_layout(root, name), wanted), name)


def _decoded(split: Split) -> Iterator[bytes | DataError]:
    """A digest of each image's pixels, or why it can't be decoded."""

    def digest(image: Image) -> bytes | DataError:
        try:
            return hashlib.blake2b(read_rgb(image.path).data, digest_size=16).digest()
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(digest, split.images)


def _summary(split: Split) -> Summary:
    labels, sides, crowds = [], [], 0
    for image in split.images:
        real = ~image.crowd
        crowds += int(image.crowd.sum())
        labels.append(image.labels[real])
        sides.append(np.sqrt(np.prod(image.boxes[real, 2:] - image.boxes[real, :2], axis=1)))
    every_label = np.concatenate([np.zeros(0, dtype=np.int64), *labels])
    every_side = np.concatenate([np.zeros(0, dtype=np.float32), *sides])
    counts = np.bincount(every_label, minlength=len(split.categories) + 1)[1:]
    low, middle, high = np.percentile(every_side, (5, 50, 95)) if len(every_side) else (0, 0, 0)
    return Summary(
        name=split.name,
        images=len(split.images),
        empty=sum(len(own) == 0 for own in labels),
        boxes=len(every_label),
        crowds=crowds,
        per_class={c: int(n) for c, n in zip(class_names(split), counts, strict=True)},
        sides=(float(low), float(middle), float(high)),
    )


@dataclass(frozen=True)
class AnchorMatch:
    """How boxes and anchors fit.

    Attributes:
        boxes: int (L,), the boxes whose best anchor is of this level.
        unmatchable: int (L,), those of them that even it can't match.
    """

    boxes: np.ndarray
    unmatchable: np.ndarray

    @property
    def share(self) -> float:
        """Share of all boxes that no anchor can match."""
        return float(self.unmatchable.sum() / max(1, self.boxes.sum()))


def unmatchable(
    split: Split,
    anchors: Sequence[np.ndarray],
    size: int,
    rule: ResizeRule = "letterbox",
    iou: float = 0.5,
) -> AnchorMatch:
    """Counts boxes that no anchor can match even when it is centred on them.

    Args:
        split: Whose boxes; crowds are left out.
        anchors: For each level (A, 2): width and height of its anchors in pixels of the input.
        size: Side of the input in pixels.
        rule: How images are fitted into it.
        iou: The overlap that makes a match.
    """
    shapes = np.concatenate([np.asarray(level, dtype=np.float64) for level in anchors])
    level_of = np.repeat(np.arange(len(anchors)), [len(level) for level in anchors])
    sizes = []
    for image in split.images:
        boxes = placement(image.width, image.height, size, rule).to_input(image.boxes[~image.crowd])
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    wanted = np.concatenate([np.zeros((0, 2)), *sizes])
    best = np.zeros(len(wanted))
    level = np.zeros(len(wanted), dtype=np.int64)
    for shape, own in zip(shapes, level_of, strict=True):  # few anchors, many boxes
        overlap = np.minimum(wanted, shape).prod(axis=1)
        score = overlap / (wanted.prod(axis=1) + shape.prod() - overlap)
        level = np.where(score > best, own, level)
        best = np.maximum(best, score)
    return AnchorMatch(
        boxes=np.bincount(level, minlength=len(anchors)),
        unmatchable=np.bincount(level[best < iou], minlength=len(anchors)),
    )
