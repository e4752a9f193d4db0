"""Reads the tables of a COCO annotation file, and notes everything in them that can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.data import boxes as geometry
from nas.data.categories import agree, note_shared_names, read_categories
from nas.data.folder_layout import SplitFiles, read_json, read_rows
from nas.data.image_files import ImageFiles
from nas.data.pictures import Pictures, PictureTable, read_pictures
from nas.data.problems import Problem, Problems
from nas.data.segments import box_of
from nas.data.values import echo, flags, numbers, quadruples, wholes
from nas.errors import DataError

_NAMED = 5  # categories that only one split has: more would make a long line
_NO_FLAG = "iscrowd is neither 0 nor 1"
_LARGEST_AREA = 1e18  # square pixels; float32 squares it


@dataclass(frozen=True)
class Boxes:
    """The usable boxes, by image and then as in the file; xyxy in px, clipped to the image."""

    ids: np.ndarray
    image: np.ndarray  # position in Pictures
    category: np.ndarray  # position in the categories
    xyxy: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


@dataclass
class AnnotationFile:
    """One annotation file as read, with what was wrong in it."""

    layout: SplitFiles
    categories: list[tuple[int, str]]
    pictures: Pictures
    boxes: Boxes
    problems: list[Problem]


def read_annotations(
    layout: SplitFiles, categories: Sequence[tuple[int, str]] | None = None
) -> AnnotationFile:
    """Reads a split's annotation file and the header of every image it names.

    Args:
        layout: Where the split lies.
        categories: (id, name) of each category in the order wanted, such as those of `train`
            when `val` is read; None takes the file's own, by id.

    Raises:
        DataError: The file isn't COCO's format at all.
    """
    path = layout.json_path
    if not ImageFiles(layout.root).holds(path):
        raise DataError(f"{path}: a symbolic link out of the data folder; copy the file there")
    document = read_json(path)
    problems = Problems(str(path.relative_to(layout.root)))
    own = read_categories(read_rows(document, "categories", path), path, problems.note)
    pictures = read_pictures(read_rows(document, "images", path), layout, problems)
    annotations = _Annotations(read_rows(document, "annotations", path), problems)
    with_boxes = set(np.unique(annotations.category_ids[annotations.has_category]).tolist())
    note_shared_names(own, with_boxes, problems.note)
    if categories is not None:
        agree(own, categories, with_boxes, path, problems.note)
    used = own if categories is None else list(categories)
    boxes = annotations.read(pictures, used, own)
    return AnnotationFile(layout, used, pictures.usable, boxes, problems)


class _Annotations:
    """The table 'annotations', a column at a time."""

    def __init__(self, rows: list[dict[str, Any]], problems: Problems) -> None:
        self.rows = rows
        self.problems = problems
        self.category_ids, self.has_category = wholes(self._column("category_id"))

    def _column(self, key: str, default: Any = None) -> list[Any]:
        return [row.get(key, default) for row in self.rows]

    def read(
        self, table: PictureTable, used: list[tuple[int, str]], own: list[tuple[int, str]]
    ) -> Boxes:
        """Returns the usable boxes of the usable pictures; the others are noted.

        Args:
            table: The pictures.
            used: (id, name) of the categories that boxes are wanted of.
            own: Those of this file.
        """
        pictures = table.usable
        image_ids, has_image = wholes(self._column("image_id"))
        image, image_known = _positions(pictures.ids, image_ids)
        used_ids = np.array([key for key, _ in used], dtype=np.int64)
        category, category_known = _positions(used_ids, self.category_ids)
        others = [(key, name) for key, name in own if key not in dict(used)]
        crowd, flagged = flags(self._column("iscrowd", 0))
        ignored, _ = flags(self._column("ignore", 0))
        xywh, well_formed, outlined = self._xywh()
        with_picture = has_image & image_known
        placed = _Placed(xywh, table, np.where(with_picture, image, -1))

        usable = has_image & np.isin(image_ids, table.declared)
        self._note("unknown image", ~usable)
        # A skipped image was noted as such: its boxes go with it without a word.
        usable &= with_picture
        for kind, good in (
            *_not_trained_on(self.category_ids, others),
            ("unknown category", self.has_category & category_known),
            (_NO_FLAG, flagged),
            ("no bbox, and no segmentation that gives one", ~outlined | well_formed),
            ("bbox is not four numbers", well_formed),
            ("non-finite box", np.isfinite(xywh).all(axis=1)),
            ("box with a negative width or height", (xywh[:, 2:] >= 0).all(axis=1)),
            ("zero-area box", (xywh[:, 2:] > 0).all(axis=1)),
            ("box far beyond its image", ~placed.far),
            # In float32, as kept: a sliver far from the origin may have no width left in it.
            ("box outside its image", (placed.xyxy[:, 2:] > placed.xyxy[:, :2]).all(axis=1)),
        ):
            self._note(kind, usable & ~good, "iscrowd" if kind == _NO_FLAG else "")
            usable &= good
        self._note_conventions(placed, usable)
        # COCO's judge sets `ignore` from iscrowd, whatever the file has.
        self._note(
            "ignore is set, which nothing reads: iscrowd 1 marks what to ignore",
            usable & ignored & ~crowd,
            left_out=False,
        )
        areas = self._areas(placed.xyxy, usable)
        ids = self._unique_ids(usable)
        chosen = np.flatnonzero(usable)
        chosen = chosen[np.argsort(image[chosen], kind="stable")]
        self._note_turns(table, np.unique(image[chosen]))
        return Boxes(*(a[chosen] for a in (ids, image, category, placed.xyxy, crowd, areas)))

    def _xywh(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns boxes float64 (N, 4), where there is one, and where an outline stands for it."""
        values = self._column("bbox")
        outlined = np.zeros(len(values), dtype=bool)
        # Of a million boxes that are lists with something in them, none is looked at by itself.
        whole = set(map(type, values)) <= {list} and all(values)
        for position, value in enumerate([] if whole else values):
            if value is None or value == []:
                segmentation = self.rows[position].get("segmentation")
                if segmentation is not None and segmentation != []:
                    outlined[position] = True
                    values[position] = box_of(segmentation)
        return (*quadruples(values), outlined)

    def _areas(self, xyxy: np.ndarray, usable: np.ndarray) -> np.ndarray:
        """Returns the areas (N,), those of segmentations where there are some, else of boxes."""
        box = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
        areas, _ = numbers(self._column("area", 0.0))
        with np.errstate(invalid="ignore"):
            good = (areas > 0) & (areas < _LARGEST_AREA)
        odd = self._written("area", usable & ~good)
        self._note("area isn't above 0, that of the box is used", odd, "area", left_out=False)
        return np.where(good, areas, box).astype(np.float32)

    def _unique_ids(self, usable: np.ndarray) -> np.ndarray:
        """Returns annotation ids, numbered afresh if they don't tell the boxes apart."""
        ids, good = wholes(self._column("id"))
        if not len(ids):
            return ids
        _, first = np.unique(ids, return_index=True)
        again = np.ones(len(ids), dtype=bool)
        again[first] = False
        again &= good
        self._note("duplicate annotation id", again, left_out=False)
        if good.all() and not again.any():
            return ids
        odd = self._written("id", usable & ~good)
        self._note("annotation id not an integer, numbered afresh", odd, left_out=False)
        return np.arange(1, len(ids) + 1, dtype=np.int64)

    def _written(self, key: str, rows: np.ndarray) -> np.ndarray:
        """Returns which of some rows (N,) have a key, whatever its value."""
        written = np.array(rows)
        for position in np.flatnonzero(rows):
            written[position] = key in self.rows[position]
        return written

    def _note_conventions(self, placed: _Placed, usable: np.ndarray) -> None:
        """Notes boxes that aren't written as COCO's are, and those that reach beyond the edge."""
        convention = geometry.convention(placed.xywh[usable], placed.frames[usable])
        if convention is not None:
            self.problems.note(convention.name, "bbox", convention.reason, left_out=False)
            return
        beyond = usable & (placed.reach > geometry.EDGE)
        # What judges the file as written, pycocotools, doesn't cut them off.
        kind = "box reaches beyond its image, cut off at the edge for training and AP"
        self._note(kind, beyond, left_out=False)

    def _note_turns(self, table: PictureTable, with_boxes: np.ndarray) -> None:
        for position in with_boxes[table.unclear[with_boxes]]:
            self.problems.note(
                "EXIF turns the picture, and its size doesn't tell whether the boxes too",
                f"image {table.usable.ids[position]} ({table.usable.names[position]})",
                "boxes are read as those of the picture as shown",
                left_out=False,
            )

    def _note(self, kind: str, bad: np.ndarray, field: str = "", *, left_out: bool = True) -> None:
        """Notes the rows where `bad` is true, and what they have in `field` besides their box."""
        for position in np.flatnonzero(bad):
            row = self.rows[position]
            name = row.get("id", f"at [{position}]")
            extra = f", {field} {echo(row.get(field))}" if field else ""
            self.problems.note(
                kind,
                f"annotation {name if isinstance(name, str) else echo(name)} of image "
                f"{echo(row.get('image_id'))}",
                f"category {echo(row.get('category_id'))}, bbox {echo(row.get('bbox'))}{extra}; "
                f"annotations[{position}]",
                left_out=left_out,
            )


class _Placed:
    """Boxes on their pictures as shown.

    Attributes:
        xywh: float64 (N, 4), as written.
        frames: int64 (N, 2), width and height of what they were written for.
        xyxy: float32 (N, 4), upright and clipped; zero where there is no picture.
        reach: float64 (N,), by how many pixels each reaches beyond its picture.
        far: bool (N,), where that is so far that it is no box.
    """

    def __init__(self, xywh: np.ndarray, table: PictureTable, image: np.ndarray) -> None:
        # One more row for boxes without a picture, whose position is -1.
        sizes = np.concatenate([table.usable.sizes, np.zeros((1, 2), dtype=np.int64)])[image]
        turns = np.concatenate([table.turns, [1]])[image]
        self.xywh = xywh
        self.frames = np.where((turns >= 5)[:, None], sizes[:, ::-1], sizes)
        written = geometry.corners(xywh)
        self.reach = geometry.reach(written, self.frames)
        self.far = geometry.far_beyond(written, self.frames)
        self.xyxy = geometry.clipped(geometry.turned(written, self.frames, turns), sizes)


def _not_trained_on(
    category_ids: np.ndarray, others: list[tuple[int, str]]
) -> list[tuple[str, np.ndarray]]:
    """Problems with boxes of this file's own categories, and where there is none (N,)."""
    if len(others) > _NAMED:
        in_own = ~np.isin(category_ids, [key for key, _ in others])
        return [("box of a category that isn't trained on", in_own)]
    return [
        (f"box of category {key} ({name}), which isn't trained on", category_ids != key)
        for key, name in others
    ]


def _positions(existing: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each id stands in `existing` (N,), and whether it does (N,)."""
    if not len(existing):
        return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=bool)
    order = np.argsort(existing)
    slot = np.minimum(np.searchsorted(existing, ids, sorter=order), len(existing) - 1)
    position = order[slot]
    return position, existing[position] == ids
