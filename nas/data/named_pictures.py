"""Picture files that a user names, and those in folders that a user names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from nas.data.resize import picture_endings
from nas.errors import DataError, amount

DRAWN_BY = "spinenas predict"
"""What stands as Software in drawn pictures, by which they are told from the user's own."""

_NAMED = 3  # files passed over: more would make a long line


@dataclass(frozen=True)
class PictureList:
    """Pictures to be read, each once, and what was passed over in folders.

    Attributes:
        paths: in the order given, those of a folder by name.
        notes: a line for each folder in which something was passed over.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def list_pictures(inputs: Sequence[Path], out: Path) -> PictureList:
    """Lists picture files, and those in folders; sub-folders are not looked into.

    Args:
        inputs: files, whatever their ending, and folders.
        out: where drawn pictures go; it isn't noted as a folder that is passed over.

    Raises:
        DataError: a folder can't be listed or holds no picture, or no file is there.
    """
    paths: dict[str, Path] = {}
    notes: list[str] = []
    for path in inputs:
        if path.is_dir():
            files, note = _in_folder(path, out)
            notes += [note] if note else []
        else:
            files = [path]
        for one in files:
            paths.setdefault(os.path.realpath(one), one)
    if not any(path.exists() for path in paths.values()):
        first = next(iter(paths.values()), None)
        raise DataError(f"{first}: no such image file; check the name, or name a folder")
    return PictureList(tuple(paths.values()), tuple(notes))


def is_drawing(path: Path) -> bool:
    """Returns whether a file is a picture with boxes that an earlier prediction has drawn."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Pillow.open(path, formats=("PNG",)) as image:
            return image.info.get("Software") == DRAWN_BY
    except Exception:  # no picture, in whatever way: it is told when it is read
        return False


def _in_folder(folder: Path, out: Path) -> tuple[list[Path], str]:
    """Returns the pictures in a folder, and what is passed over there, in a line."""
    endings = picture_endings()
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); name files") from None
    inner = [path for path in entries if path.is_dir()]
    ours = out / "detections.json"
    files = [path for path in entries if path not in inner and path != ours]
    named = [path for path in files if _is_picture(path, endings)]
    drawn = [path for path in named if is_drawing(path)]
    others = [path.name for path in files if path not in set(named)]
    below = [path.name for path in inner if not _same(path, out) and _holds_some(path, endings)]
    note = _passed_over(others, len(drawn), below)
    own = [path for path in named if path not in set(drawn)]
    if not own:
        raise DataError(
            f"{folder}: holds no pictures{f' ({note})' if note else ''}; name files, or a folder "
            f"of them ({', '.join(sorted(endings))})"
        )
    return own, f"{folder}: {note}" if note else ""


def _is_picture(path: Path, endings: frozenset[str]) -> bool:
    regular = path.is_file() or (path.is_symlink() and not path.exists())
    return regular and not path.name.startswith(".") and path.suffix.lower() in endings


def _same(path: Path, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _holds_some(folder: Path, endings: frozenset[str]) -> bool:
    return any(
        os.path.splitext(name)[1].lower() in endings and not name.startswith(".")
        for _, _, names in os.walk(folder)
        for name in names
    )


def _passed_over(others: Sequence[str], drawn: int, below: Sequence[str]) -> str:
    pieces = []
    if others:
        pieces.append(
            f"passed over {amount(len(others), 'file')} that can't be a picture ({_listed(others)})"
        )
    if drawn:
        pieces.append(f"{drawn} pictures passed over that an earlier prediction has drawn")
    if below:
        pieces.append(f"{len(below)} folders with pictures not looked into ({_listed(below)})")
    return ", ".join(pieces)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
