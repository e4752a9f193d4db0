"""Reads the tables of a COCO annotation file, and notes everything in them that can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.layout import ImageFiles, Layout, PathEscape, read_json, read_rows
from nas.data.resize import read_size
from nas.errors import DataError

ESCAPE = "path out of the folder"
_NAMED = 5  # categories that only one split has: more would make a long line


@dataclass(frozen=True)
class Problem:
    """Something in a data folder that can't be used, or that is probably not what was meant.

    Attributes:
        kind: What it is, in words by which problems are counted.
        file: The annotation file, from the data folder on.
        subject: The row or picture.
        detail: What was met there.
        left_out: Whether the row or picture is used for nothing; False for a note, such as that
            of a size which isn't the file's: what it names is used all the same.
    """

    kind: str
    file: str
    subject: str
    detail: str = ""
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}: {self.subject}" + (
            f" ({self.detail})" if self.detail else ""
        )


@dataclass(frozen=True)
class Pictures:
    """The usable images: ids (N,), sizes (N, 2) as width and height in px, bytes on disk (N,)."""

    ids: np.ndarray
    names: list[str]
    paths: list[Path]
    sizes: np.ndarray
    file_bytes: np.ndarray


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

    layout: Layout
    categories: list[tuple[int, str]]
    pictures: Pictures
    boxes: Boxes
    problems: list[Problem]


def read_annotations(
    layout: Layout, categories: Sequence[tuple[int, str]] | None = None
) -> AnnotationFile:
    """Reads a split's annotation file and the header of every image it names.

    Args:
        layout: Where the split lies.
        categories: (id, name) of each category in the order wanted, such as those of `train`
            when `val` is read; None takes the file's own, by id.

    Raises:
        DataError: The file isn't COCO's format at all.
    """
    return _Reader(layout).read(categories)


class _Reader:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.file = str(layout.json_path.relative_to(layout.root))
        self.problems: list[Problem] = []

    def note(self, kind: str, subject: str, detail: object = "", *, left_out: bool = True) -> None:
        self.problems.append(Problem(kind, self.file, subject, str(detail), left_out))

    def read(self, categories: Sequence[tuple[int, str]] | None) -> AnnotationFile:
        path = self.layout.json_path
        if not ImageFiles(self.layout.root).holds(path):
            raise DataError(f"{path}: a symbolic link out of the data folder; copy the file there")
        document = read_json(path)
        own = self._categories(read_rows(document, "categories", path))
        used = own if categories is None else self._agreeing(own, list(categories))
        pictures, declared = self._pictures(read_rows(document, "images", path))
        others = [category for category in own if category not in used]
        boxes = self._boxes(
            read_rows(document, "annotations", path), pictures, declared, used, others
        )
        return AnnotationFile(self.layout, used, pictures, boxes, self.problems)

    def _categories(self, rows: list[dict[str, Any]]) -> list[tuple[int, str]]:
        found: dict[int, str] = {}
        for row in rows:
            key, name = row.get("id"), str(row.get("name", row.get("id")))
            if type(key) is not int or abs(key) >= 2**63:
                self.note("category id not an integer", f"category {name!r}", repr(key))
            elif key in found and found[key] != name:
                raise DataError(
                    f"{self.layout.json_path}: category id {key} is both {found[key]!r} and "
                    f"{name!r}; give each its own id"
                )
            elif key in found:
                self.note("duplicate category id", f"category {key} ({name})")
            else:
                found[key] = name
        return sorted(found.items())

    def _agreeing(
        self, own: list[tuple[int, str]], wanted: list[tuple[int, str]]
    ) -> list[tuple[int, str]]:
        names = dict(wanted)
        for key, name in own:
            if key in names and names[key] != name:
                raise DataError(
                    f"{self.layout.json_path}: category id {key} is {name!r} here and "
                    f"{names[key]!r} in the training annotations; use the same ids in both"
                )
        return wanted

    def _pictures(self, rows: list[dict[str, Any]]) -> tuple[Pictures, np.ndarray]:
        """The usable images, and all declared ids: boxes of a skipped image go with it."""
        files = ImageFiles(self.layout.root)
        seen: set[int] = set()
        kept: list[tuple[int, str, Path, tuple[int, int], int]] = []
        for position, row in enumerate(rows):
            key, name = row.get("id"), row.get("file_name")
            subject = f"image {key} ({name})"
            if type(key) is not int or abs(key) >= 2**63 or not isinstance(name, str):
                self.note("image without integer id and file_name", f"images[{position}]", row)
            elif key in seen:
                self.note("duplicate image id", subject)
            else:
                seen.add(key)
                found = self._locate(files, name, subject)
                size = self._size(found[0], row, subject) if found else None
                if found and size:
                    kept.append((key, name, found[0], size, found[1]))
        pictures = Pictures(
            ids=np.array([row[0] for row in kept], dtype=np.int64),
            names=[row[1] for row in kept],
            paths=[row[2] for row in kept],
            sizes=np.array([row[3] for row in kept], dtype=np.int64).reshape(-1, 2),
            file_bytes=np.array([row[4] for row in kept], dtype=np.int64),
        )
        return pictures, np.array(sorted(seen), dtype=np.int64)

    def _locate(self, files: ImageFiles, name: str, subject: str) -> tuple[Path, int] | None:
        try:
            found = files.locate(self.layout.image_folders, name)
        except PathEscape as error:
            self.note(ESCAPE, subject, error)
            return None
        if found is None:
            self.note("missing image", subject)
        return found

    def _size(self, path: Path, row: dict[str, Any], subject: str) -> tuple[int, int] | None:
        """The true size from the file's header; the annotation file's is only compared."""
        try:
            size = read_size(path)
        except DataError as error:
            self.note("unreadable image", subject, error)
            return None
        said = (row.get("width", size[0]), row.get("height", size[1]))
        if said != size:
            turned = "; it is the size before EXIF rotation" if said == size[::-1] else ""
            detail = f"{said}, file {size}{turned}"
            self.note("size differs from the file's", subject, detail, left_out=False)
        return size

    def _boxes(
        self,
        rows: list[dict[str, Any]],
        pictures: Pictures,
        declared: np.ndarray,
        categories: list[tuple[int, str]],
        others: list[tuple[int, str]],
    ) -> Boxes:
        ids, has_id = _integers(rows, "id")
        image_ids, has_image = _integers(rows, "image_id")
        category_ids, has_category = _integers(rows, "category_id")
        xywh, well_formed = _quadruples([row.get("bbox") for row in rows])
        image, image_known = _positions(pictures.ids, image_ids)
        category, category_known = _positions(
            np.array([key for key, _ in categories], dtype=np.int64), category_ids
        )
        with_picture = has_image & image_known
        sizes = pictures.sizes[np.where(with_picture, image, 0)] if len(pictures.ids) else None
        xyxy = _clipped(xywh, sizes)
        finite = np.isfinite(xywh).all(axis=1)
        positive = (xywh[:, 2:] > 0).all(axis=1)
        # In float32, as kept: a sliver far from the origin may have no width left in it.
        visible = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)

        usable = has_image & np.isin(image_ids, declared)
        self._note_boxes("unknown image", ~usable, rows)
        # A skipped image was noted as such: its boxes go with it without a word.
        usable &= with_picture
        for kind, good in (
            *_not_trained_on(category_ids, others),
            ("unknown category", has_category & category_known),
            ("bbox is not four numbers", well_formed),
            ("non-finite box", finite),
            ("zero-area box", positive),
            ("box outside its image", visible),
        ):
            self._note_boxes(kind, usable & ~good, rows)
            usable &= good
        ids = self._unique(ids, has_id, rows)
        chosen = np.flatnonzero(usable)
        chosen = chosen[np.argsort(image[chosen], kind="stable")]
        crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=bool)
        areas = _areas(rows, xyxy)
        return Boxes(*(a[chosen] for a in (ids, image, category, xyxy, crowd, areas)))

    def _unique(
        self, ids: np.ndarray, has_id: np.ndarray, rows: list[dict[str, Any]]
    ) -> np.ndarray:
        """Annotation ids, numbered afresh if they don't tell the boxes apart."""
        if not len(ids):
            return ids
        _, first = np.unique(ids, return_index=True)
        again = np.ones(len(ids), dtype=bool)
        again[first] = False
        again &= has_id
        self._note_boxes("duplicate annotation id", again, rows, left_out=False)
        if again.any() or not has_id.all():
            return np.arange(1, len(ids) + 1, dtype=np.int64)
        return ids

    def _note_boxes(
        self, kind: str, bad: np.ndarray, rows: list[dict[str, Any]], *, left_out: bool = True
    ) -> None:
        for position in np.flatnonzero(bad):
            row = rows[position]
            self.note(
                kind,
                f"annotation {row.get('id', f'at [{position}]')} of image {row.get('image_id')}",
                f"category {row.get('category_id')}, bbox {row.get('bbox')!r:.120}",
                left_out=left_out,
            )


def _not_trained_on(
    category_ids: np.ndarray, others: list[tuple[int, str]]
) -> list[tuple[str, np.ndarray]]:
    """Problems with boxes of this file's own categories, and where there is none (N,)."""
    if len(others) > _NAMED:
        known = ~np.isin(category_ids, [key for key, _ in others])
        return [("box of a category that isn't trained on", known)]
    return [
        (f"box of category {key} ({name}), which isn't trained on", category_ids != key)
        for key, name in others
    ]


def _integers(rows: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Column `key` as int64 (N,), and where it really holds an integer (N,)."""
    values = [row.get(key) for row in rows]
    good = np.array([type(v) is int and abs(v) < 2**63 for v in values], dtype=bool)
    column = [v if ok else 0 for v, ok in zip(values, good, strict=True)]
    return np.array(column, dtype=np.int64), good


def _quadruples(values: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N, 4), and where there really were four numbers (N,)."""
    good = np.array([_is_box(value) for value in values], dtype=bool)
    boxes = np.zeros((len(values), 4))
    if good.any():
        boxes[good] = [value for value, ok in zip(values, good, strict=True) if ok]
    return boxes, good


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(type(v) is float or (type(v) is int and abs(v) < 2**63) for v in value)
    )


def _positions(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each asked id stands in `known` (N,), and whether it does (N,)."""
    if not len(known):
        return np.zeros(len(asked), dtype=np.int64), np.zeros(len(asked), dtype=bool)
    order = np.argsort(known)
    slot = np.minimum(np.searchsorted(known, asked, sorter=order), len(known) - 1)
    position = order[slot]
    return position, known[position] == asked


def _clipped(xywh: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
    """float32 xyxy (N, 4) within images of `sizes` (N, 2); all zero where there are none."""
    if sizes is None:
        return np.zeros(xywh.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        return np.clip(xyxy, 0, np.tile(sizes, (1, 2))).astype(np.float32)


def _areas(rows: list[dict[str, Any]], xyxy: np.ndarray) -> np.ndarray:
    """The annotated area (N,), of a segmentation where there is one, else that of the box."""
    box = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    values: list[Any] = [row.get("area") for row in rows]
    said = np.array([float(v) if type(v) in (int, float) and abs(v) < 1e18 else 0 for v in values])
    return np.where(said > 0, said, box).astype(np.float32)
