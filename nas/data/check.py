"""`nas data check`: everything in a data folder that can't be used, and what the rest is like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.annotations import read_annotations
from nas.data.cache import THREADS, Progress
from nas.data.coco import Category, Image, Split, assemble, class_names, count, refusal
from nas.data.folder_layout import SplitName, find_layout
from nas.data.holdout import holdout
from nas.data.problems import ESCAPE, Problem
from nas.data.resize import ResizeRule, placement, read_rgb
from nas.data.rules import lacking_to_judge, lacking_to_search, lacking_to_train, not_learnt
from nas.data.settings import DataSettings
from nas.errors import DataError, amount

_BOTH = "nas search and nas train"
_TWICE, _IN_BOTH = "picture there twice", "picture in both splits"


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
            f"{self.name}: {amount(self.images, 'image')} ({self.empty} without boxes), "
            f"{amount(self.boxes, 'box')} and {amount(self.crowds, 'crowd')} of "
            f"{amount(len(self.per_class), 'class')} ({rare} with fewer than 10 boxes), "
            f"typical side {middle:.0f} px (5-95 %: {low:.0f}-{high:.0f})"
        )


@dataclass(frozen=True)
class Refusal:
    """Commands that refuse the folder as it is, and their message."""

    commands: str
    message: str

    def __str__(self) -> str:
        verb = "refuse" if " and " in self.commands else "refuses"
        return f"{self.commands} {verb} this folder: {self.message}"


@dataclass(frozen=True)
class Report:
    """What `check` found; printing it gives the whole text.

    Attributes:
        summaries: One for each split.
        problems: What is left out, and what is used though it is odd (`Problem.left_out`).
        refusals: What `search` or `train` lacks, with its default settings.
        splits: What can be used of each split.
    """

    summaries: tuple[Summary, ...]
    problems: tuple[Problem, ...]
    refusals: tuple[Refusal, ...] = ()
    splits: tuple[Split, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything can be used, and nothing is odd."""
        return not (self.problems or self.refusals)

    @property
    def usable(self) -> bool:
        """Whether every command takes the folder and uses all of it, odd or not."""
        return not (self.refusals or any(problem.left_out for problem in self.problems))

    @property
    def verdict(self) -> str:
        """The closing line: what is left out, what is used though it is odd, and who refuses."""
        if self.ok:
            return "ok: everything can be used"
        # A path out of the folder isn't left out: the whole folder is refused for it.
        left_out = [p for p in self.problems if p.left_out and p.kind != ESCAPE]
        odd = [problem for problem in self.problems if not problem.left_out]
        parts = [f"{count(left_out)}: left out by every command"] if left_out else []
        parts += [f"{count(odd)}: used all the same"] if odd else []
        parts += map(str, self.refusals)
        if self.usable:
            parts.append("everything is used")
        return "; ".join(parts)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems), *map(str, self.summaries), self.verdict])


def check(root: Path | str, progress: Progress | None = None) -> Report:
    """Reads all annotations and decodes all images of a folder.

    The rules are those by which `search`, `train` and `eval` refuse a folder (`nas.data.rules`),
    with the default settings.

    Args:
        root: A data folder in any layout that is understood.
        progress: Told about the images decoded, and of how many.

    Raises:
        DataError: There are no training annotations, or a file isn't COCO's format at all.
    """
    train, problems = _read(root, "train", None)
    why = refusal(train, problems)
    refusals = [Refusal(_BOTH, why)] if why else []
    splits = [train]
    try:
        find_layout(root, "val")
    except DataError as error:
        refusals.append(Refusal("nas train", str(error)))
    else:
        val, own = _read(root, "val", train.categories)
        if why := refusal(val, own):
            refusals.append(Refusal("nas train", why))
        problems += own + _not_learnt(train, val)
        splits.append(val)
    usable, undecodable = _decoded(splits, progress)
    if not any(one.commands == _BOTH for one in refusals):
        judged = [] if refusals else usable[1:]
        refusals += _refusals(train, usable[0], judged)
    return Report(
        tuple(_summary(split) for split in usable),
        (*problems, *undecodable),
        tuple(refusals),
        tuple(usable),
    )


def _refusals(train: Split, usable: Split, judged: Sequence[Split]) -> list[Refusal]:
    """Returns what the rules forbid of `train`, of what can be decoded of it, and of `val`."""
    if why := lacking_to_train(usable):
        return [Refusal(_BOTH, why)]
    refusals = [Refusal("nas train", why) for val in judged if (why := lacking_to_judge(val))]
    try:
        parts = holdout(train, DataSettings(), seed=0)
    except DataError as error:
        return [*refusals, Refusal("nas search", str(error))]
    kept = {image.id for image in usable.images}
    training, scoring = (
        part.part(part.name, [n for n, image in enumerate(part.images) if image.id in kept])
        for part in parts
    )
    if why := lacking_to_search(training, scoring):
        refusals.append(Refusal("nas search", why))
    return refusals


def _not_learnt(train: Split, val: Split) -> list[Problem]:
    """Notes the classes that have boxes in `val` alone."""
    file = str(val.json_path.relative_to(val.root))
    return [
        Problem(
            "class without a box in train",
            file,
            f"category {category.id} ({category.name})",
            "what isn't learnt counts as AP 0",
            left_out=False,
        )
        for category in not_learnt(train, val)
    ]


def _decoded(
    splits: Sequence[Split], progress: Progress | None
) -> tuple[list[Split], list[Problem]]:
    """Returns what can be decoded of the splits, and notes on the rest and on repeated images."""
    total, done = sum(len(split) for split in splits), 0
    first_seen: dict[bytes, tuple[str, Image]] = {}
    usable, problems = [], []
    for split in splits:
        file, kept = str(split.json_path.relative_to(split.root)), []
        for position, (image, result) in enumerate(zip(split.images, _digests(split), strict=True)):
            subject = f"image {image.id} ({image.path.name})"
            if isinstance(result, DataError):
                detail = f"{result}; its {len(image.boxes)} boxes go with it"
                problems.append(Problem("undecodable image", file, subject, detail))
            else:
                kept.append(position)
                name, other = first_seen.setdefault(result, (split.name, image))
                if other is not image:
                    kind = _TWICE if name == split.name else _IN_BOTH
                    detail = f"same pixels as {other.path.name} of {name}, image {other.id}"
                    problems.append(Problem(kind, file, subject, detail, left_out=False))
            done += 1
            if progress:
                progress(done, total)
        whole = len(kept) == len(split)
        usable.append(split if whole else split.part(split.name, kept))
    return usable, problems


def _read(
    root: Path | str, name: SplitName, categories: Sequence[Category] | None
) -> tuple[Split, list[Problem]]:
    order = None if categories is None else [(c.id, c.name) for c in categories]
    return assemble(read_annotations(find_layout(root, name), order), name)


def _digests(split: Split) -> Iterator[bytes | DataError]:
    """Yields a digest of each image's pixels, or why it can't be decoded."""

    def digest(image: Image) -> bytes | DataError:
        try:
            return hashlib.blake2b(read_rgb(image.path).data, digest_size=16).digest()
        except DataError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
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
    sides = np.concatenate([np.zeros((0, 2)), *sizes])
    best = np.zeros(len(sides))
    level = np.zeros(len(sides), dtype=np.int64)
    for shape, own in zip(shapes, level_of, strict=True):  # few anchors, many boxes
        overlap = np.minimum(sides, shape).prod(axis=1)
        score = overlap / (sides.prod(axis=1) + shape.prod() - overlap)
        level = np.where(score > best, own, level)
        best = np.maximum(best, score)
    return AnchorMatch(
        boxes=np.bincount(level, minlength=len(anchors)),
        unmatchable=np.bincount(level[best < iou], minlength=len(anchors)),
    )
