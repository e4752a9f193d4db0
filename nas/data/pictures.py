"""The table 'images' of an annotation file, and the header of every file that it names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.folder_layout import SplitFiles
from nas.data.image_files import ImageFiles, PathEscape, image_name
from nas.data.problems import ESCAPE, Problems
from nas.data.resize import read_header
from nas.data.values import echo, whole
from nas.errors import DataError


@dataclass(frozen=True)
class Pictures:
    """The usable images: ids (N,), sizes (N, 2) as width and height in px, bytes on disk (N,)."""

    ids: np.ndarray
    names: list[str]
    paths: list[Path]
    sizes: np.ndarray
    file_bytes: np.ndarray


@dataclass(frozen=True)
class PictureTable:
    """The table 'images' as read.

    Attributes:
        usable: The images that can be used.
        declared: Ids of all rows that have one, sorted: boxes of a skipped image go with it.
        turns: int64 (N,), for each usable image the EXIF orientation by which its boxes have to
            be turned; 1 where they are those of the picture as shown.
        unclear: bool (N,), where nothing says whether boxes are those before EXIF's turn.
    """

    usable: Pictures
    declared: np.ndarray
    turns: np.ndarray
    unclear: np.ndarray


@dataclass(frozen=True)
class _PictureRow:
    id: int
    name: str
    path: Path
    size: tuple[int, int]
    file_bytes: int
    orientation: int
    stored: bool | None  # whether the size declared is that before EXIF's turn; None: can't tell


def read_pictures(
    rows: list[dict[str, Any]], layout: SplitFiles, problems: Problems
) -> PictureTable:
    """Reads the table 'images' and the header of each file; what can't be used is noted."""
    files = ImageFiles(layout.root)
    names_of = _names_of_ids(rows)
    declared: set[int] = set()
    kept: list[_PictureRow] = []
    for position, row in enumerate(rows):
        key, name = whole(row.get("id")), image_name(row)
        place = f"images[{position}]"
        if key is None or not isinstance(name, str) or not name:
            lacking = "integer id" if key is None else "file_name"
            values = f"id {echo(row.get('id'))}, file_name {echo(row.get('file_name'))}"
            problems.note(
                "image without integer id and file_name", place, f"no {lacking}: {values}"
            )
            if key is not None:
                declared.add(key)
            continue
        subject = f"image {key} ({name})"
        if len(names_of[key]) > 1:
            others = ", ".join(sorted(echo(n) for n in names_of[key] if n != name)[:3])
            detail = f"{place}; also the id of {others}: whose its boxes are can't be told"
            problems.note("image id of several files", subject, detail)
        elif key in declared:
            problems.note("duplicate image id", subject, place)
        elif (located := _locate(files, layout, name, subject, place, problems)) is not None:
            path, file_bytes = located
            header = _header(path, row, subject, place, problems)
            if header is not None:
                kept.append(_PictureRow(key, name, path, header[0], file_bytes, *header[1:]))
        declared.add(key)
    return _table(_of_their_own(kept, layout, problems), declared)


def _of_their_own(
    kept: list[_PictureRow], layout: SplitFiles, problems: Problems
) -> list[_PictureRow]:
    """Leaves out rows whose name merely resembles that of a file which another row names.

    A file that only nearly has the name is this row's own, or it isn't the one that was meant.
    """
    times = Counter(row.path for row in kept)
    own = []
    for row in kept:
        if times[row.path] == 1 or row.path.as_posix().endswith(f"/{row.name}"):
            own.append(row)
        else:
            nearest = row.path.relative_to(layout.root).as_posix()
            detail = f"nearest is {nearest}, which another row names"
            problems.note("missing image", f"image {row.id} ({row.name})", detail)
    return own


def _names_of_ids(rows: list[dict[str, Any]]) -> dict[int, set[str]]:
    """Returns the different file names that each id has: of two, boxes can't be told apart."""
    names: dict[int, set[str]] = {}
    for row in rows:
        key, name = whole(row.get("id")), image_name(row)
        if key is not None and isinstance(name, str):
            names.setdefault(key, set()).add(name)
    return names


def _table(kept: list[_PictureRow], declared: set[int]) -> PictureTable:
    pictures = Pictures(
        ids=np.array([row.id for row in kept], dtype=np.int64),
        names=[row.name for row in kept],
        paths=[row.path for row in kept],
        sizes=np.array([row.size for row in kept], dtype=np.int64).reshape(-1, 2),
        file_bytes=np.array([row.file_bytes for row in kept], dtype=np.int64),
    )
    # One tool wrote the file: where the size doesn't tell, the other turned pictures do.
    votes = Counter(row.stored for row in kept if row.orientation > 1 and row.stored is not None)
    usual = next(iter(votes)) if len(votes) == 1 else None
    stored = [row.stored if row.stored is not None else bool(usual) for row in kept]
    orientations = [row.orientation for row in kept]
    return PictureTable(
        usable=pictures,
        declared=np.array(sorted(declared), dtype=np.int64),
        turns=np.where(stored, orientations, 1).astype(np.int64),
        unclear=np.array(
            [row.orientation > 1 and row.stored is None and usual is None for row in kept],
            dtype=bool,
        ),
    )


def _locate(
    files: ImageFiles, layout: SplitFiles, name: str, subject: str, place: str, problems: Problems
) -> tuple[Path, int] | None:
    try:
        located = files.locate(layout.image_folders, name)
    except PathEscape as error:
        problems.note(ESCAPE, subject, error)
        return None
    if located is None:
        where = files.whereabouts(layout.image_folders, name)
        problems.note("missing image", subject, f"{place}: {where}")
    return located


def _header(
    path: Path, row: dict[str, Any], subject: str, place: str, problems: Problems
) -> tuple[tuple[int, int], int, bool | None] | None:
    """Returns size as shown, EXIF orientation, and whether the size declared is that before it.

    The true size is the file's; the annotation file's is only compared.
    """
    try:
        size, orientation = read_header(path)
    except DataError as error:
        problems.note("unreadable image", subject, error)
        return None
    if row.keys().isdisjoint(("width", "height")):
        return size, orientation, None
    written = (row.get("width"), row.get("height"))
    width, height = (whole(value) for value in written)
    if width is None or height is None or min(width, height) <= 0:
        sides = f"width {echo(written[0])}, height {echo(written[1])}"
        detail = f"{place}: {sides}; the file's own size, {size[0]} x {size[1]}, is used"
        problems.note("no usable width and height", subject, detail, left_out=False)
        return size, orientation, None
    declared = (width, height)
    if declared == size:
        # A turn by 180 degrees or a mirror, and any of a square, leave the size as it was.
        return size, orientation, False if orientation >= 5 and width != height else None
    stored = orientation >= 5 and declared == size[::-1]
    turned = "; it is the size before EXIF rotation, so boxes are turned with the picture"
    detail = f"{place}: {declared}, file {size}{turned if stored else ''}"
    problems.note("size differs from the file's", subject, detail, left_out=False)
    return size, orientation, True if stored else None
