"""A split of a data folder in COCO's format, as the rest of the toolkit sees it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nas.data.annotations import AnnotationFile, read_annotations
from nas.data.categories import NO_INTEGER
from nas.data.folder_layout import SplitName, find_layout
from nas.data.problems import ESCAPE, Problem
from nas.errors import DataError, amount

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Category:
    """A class with the id that the user gave it."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class Image:
    """An image file with its boxes.

    Attributes:
        id: The user's id.
        path: The image file.
        width: Width in pixels of the picture as shown, EXIF rotation applied.
        height: Height in pixels, likewise.
        boxes: float32 (n, 4), xyxy in pixels, clipped to the image.
        labels: int64 (n,), contiguous from 1; label k is `split.categories[k - 1]`.
        crowd: bool (n,); a crowd box marks a region to ignore: not trained on, but handed to
            the evaluator.
        areas: float32 (n,), the annotated areas in square pixels.
        annotation_ids: int64 (n,), unique in the split; the user's where those are unique.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    annotation_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """Images and categories of `train`, `val` or a part of them.

    Attributes:
        name: Such as `train`, `val` or `train/holdout`.
        root: The data folder.
        images: In the order of the annotation file.
        categories: The classes by id; the user's ids, which may have gaps.
        fingerprint: Hex digest over categories, file names and sizes, and boxes. Equal for
            equal copies of a folder, wherever they lie.
        json_path: The annotation file.
    """

    name: str
    root: Path
    images: tuple[Image, ...]
    categories: tuple[Category, ...]
    fingerprint: str
    json_path: Path

    def __len__(self) -> int:
        return len(self.images)

    @property
    def boxes(self) -> int:
        """Boxes that are ground truth: crowds left out."""
        return sum(int((~image.crowd).sum()) for image in self.images)

    @property
    def crowds(self) -> int:
        """Crowd boxes: regions to ignore."""
        return sum(int(image.crowd.sum()) for image in self.images)

    def part(self, name: str, positions: Iterable[int]) -> Split:
        """Returns the images at `positions`, as a split with a fingerprint of its own."""
        chosen = [int(position) for position in positions]
        digest = hashlib.sha256(f"{self.fingerprint} {chosen}".encode()).hexdigest()
        images = tuple(self.images[position] for position in chosen)
        return replace(self, name=name, images=images, fingerprint=digest[:32])


def load_split(
    root: Path | str,
    split: SplitName = "train",
    *,
    categories: Sequence[Category] | None = None,
    boxes: bool = True,
) -> Split:
    """Loads `train` or `val` of a folder in any of the layouts that are understood.

    What can't be used (a missing image, a box without area, ...) is left out, with one warning
    that counts it; `nas data check` lists each.

    Args:
        root: The data folder.
        split: Which part.
        categories: Those of `train` when `val` is loaded, so that labels mean the same.
        boxes: Whether a split without a usable box is refused; pictures alone may do.

    Raises:
        DataError: There is no such split, it isn't COCO's format, no image or box in it is
            usable (crowds alone are no ground truth), or a file name leads out of the folder.
    """
    order = None if categories is None else [(c.id, c.name) for c in categories]
    loaded, problems = assemble(read_annotations(find_layout(root, split), order), split)
    if message := refusal(loaded, problems, boxes=boxes):
        raise DataError(message)
    if problems:
        log.warning(
            "%s: %s; `nas data check %s` lists them",
            loaded.json_path,
            count(problems),
            loaded.root,
        )
    return loaded


def class_names(split: Split) -> list[str]:
    """Returns the names of the classes; those that share one are told apart by their ids."""
    times = Counter(category.name for category in split.categories)
    return [c.name if times[c.name] == 1 else f"{c.name} ({c.id})" for c in split.categories]


def count(problems: Sequence[Problem]) -> str:
    """Describes problems in few words: `2 x missing image, 1 x zero-area box`."""
    kinds = Counter(problem.kind for problem in problems)
    return ", ".join(f"{number} x {kind}" for kind, number in sorted(kinds.items()))


def assemble(file: AnnotationFile, name: str) -> tuple[Split, list[Problem]]:
    """Makes a split of what an annotation file holds, usable or not as a whole."""
    pictures, boxes = file.pictures, file.boxes
    # Boxes come sorted by image, so those of one image are one slice.
    edges = np.searchsorted(boxes.image, np.arange(len(pictures.ids) + 1))
    xyxy, labels = boxes.xyxy, boxes.category + 1
    images = []
    for position, path in enumerate(pictures.paths):
        own = slice(edges[position], edges[position + 1])
        width, height = pictures.sizes[position]
        images.append(
            Image(
                id=int(pictures.ids[position]),
                path=path,
                width=int(width),
                height=int(height),
                boxes=xyxy[own],
                labels=labels[own],
                crowd=boxes.crowd[own],
                areas=boxes.areas[own],
                annotation_ids=boxes.ids[own],
            )
        )
    loaded = Split(
        name=name,
        root=file.layout.root,
        images=tuple(images),
        categories=tuple(Category(*category) for category in file.categories),
        fingerprint=_fingerprint(file),
        json_path=file.layout.json_path,
    )
    return loaded, file.problems


def _fingerprint(file: AnnotationFile) -> str:
    digest = hashlib.sha256(repr((file.categories, file.pictures.names)).encode())
    pictures, boxes = file.pictures, file.boxes
    for column in (
        *(pictures.ids, pictures.sizes, pictures.file_bytes),
        *(boxes.image, boxes.category, boxes.xyxy, boxes.crowd, boxes.areas),
    ):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:32]


def refusal(split: Split, problems: Sequence[Problem], *, boxes: bool = True) -> str | None:
    """Returns why a split can't be used at all; None if it can.

    Args:
        split: The split, as assembled.
        problems: The problems of its annotation file.
        boxes: Whether it needs a box.
    """
    path = split.json_path
    for problem in problems:
        if problem.kind == ESCAPE:
            return (
                f"{path}: {problem.subject}: {problem.detail}; keep all images below {split.root}"
            )
    counted = f" ({count(problems)})" if problems else ""
    if not split.categories:
        return f"{path}: {_lacks_categories(problems)}"
    if not split.images:
        return (
            f"{path}: none of its images can be used{counted}; the first: "
            f"{problems[0] if problems else 'images is empty'}; "
            f"`nas data check {split.root}` lists why"
        )
    if boxes and not split.boxes:
        listed = f"{counted}; `nas data check {split.root}` lists why"
        return without_boxes(split, listed if problems else "; annotate some")
    return None


def without_boxes(split: Split, remedy: str) -> str:
    """Returns the message that a split has no box, which names its crowds."""
    crowds = (
        f" but {amount(split.crowds, 'crowd')}, which are no ground truth" if split.crowds else ""
    )
    images = amount(len(split), "image")
    return f"{split.json_path}: no usable box on {images}{crowds}{remedy}"


def _lacks_categories(problems: Sequence[Problem]) -> str:
    odd = [problem for problem in problems if problem.kind == NO_INTEGER]
    if not odd:
        return "'categories' is empty; name at least one class"
    return (
        f"none of its {len(odd)} categories has a whole number as id, the first is "
        f"{odd[0].subject}: number them 1, 2, 3, … and write these numbers as category_id"
    )
