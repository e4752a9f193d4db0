"""The classes of an annotation file, and whether those of `val` are those of `train`."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from nas.data.values import echo, whole
from nas.errors import DataError

NO_INTEGER = "category id not an integer"


class Note(Protocol):
    """Takes down a problem."""

    def __call__(
        self, kind: str, subject: str, detail: object = "", *, left_out: bool = True
    ) -> None:
        """Notes a kind of problem, the row it was met in, and what was met."""


def read_categories(
    rows: Sequence[dict[str, Any]], path: Path, note: Note
) -> list[tuple[int, str]]:
    """Returns id and name of each category, by id.

    Args:
        rows: Rows of the table 'categories'.
        path: The annotation file, for messages.
        note: Is told about rows that can't be used, or that are probably not what was meant.

    Raises:
        DataError: One id has two names.
    """
    categories: dict[int, str] = {}
    for position, row in enumerate(rows):
        key, place = whole(row.get("id")), f"categories[{position}]"
        name = _name(row, key, place, note)
        if key is None:
            detail = f"id {echo(row.get('id'))}; write a whole number, and the same as category_id"
            note(NO_INTEGER, f"{place} ({name!r})", detail)
        elif key in categories and categories[key] != name:
            raise DataError(
                f"{path}: {place}: category id {key} is both {categories[key]!r} and "
                f"{name!r}; give each its own id"
            )
        elif key in categories:
            note("duplicate category id", f"category {key} ({name})", place)
        else:
            categories[key] = name
    return sorted(categories.items())


def _name(row: dict[str, Any], key: int | None, place: str, note: Note) -> str:
    """Returns the row's name; its id where there is none."""
    name = row.get("name")
    if isinstance(name, str) and name.strip():
        return name
    if type(name) in (int, float) and name == name:
        return str(name)
    instead = str(key) if key is not None else echo(row.get("id"))
    if "name" in row:
        detail = f"{echo(name)} is no name; called {instead} after its id"
        note("category without a name", place, detail, left_out=False)
    return instead


def note_shared_names(
    categories: Sequence[tuple[int, str]], with_boxes: Collection[int], note: Note
) -> None:
    """Notes names that two categories with boxes share, but for case and spaces perhaps."""
    first: dict[str, tuple[int, str]] = {}
    for key, name in categories:
        if key not in with_boxes:
            continue
        other_key, other = first.setdefault(_plain(name), (key, name))
        if other_key != key:
            note(
                "one name under two ids",
                f"category {key} ({name})",
                f"category {other_key} ({other}) has it too; both are classes of their own, give "
                "both one id if they are one",
                left_out=False,
            )


def agree(
    own: Sequence[tuple[int, str]],
    trained: Sequence[tuple[int, str]],
    with_boxes: Collection[int],
    path: Path,
    note: Note,
) -> None:
    """Makes sure that the categories of `val` mean what those of `train` do.

    Args:
        own: Id and name of each category in `val`.
        trained: Those of the training annotations.
        with_boxes: Ids that annotations of `val` name.
        path: The annotation file of `val`, for messages.
        note: Is told about names that differ in case or spaces alone.

    Raises:
        DataError: An id has another name, or a name another id.
    """
    names = dict(trained)
    ids = {_plain(name): key for key, name in reversed(trained)}
    for key, name in own:
        if key in names and _plain(names[key]) != _plain(name):
            raise DataError(
                f"{path}: category id {key} is {name!r} here and "
                f"{names[key]!r} in the training annotations; use the same ids in both"
            )
        if key in names and names[key] != name:
            detail = f"{name!r} here and {names[key]!r} in train, read as one class"
            note("name differs from train's", f"category {key}", detail, left_out=False)
        elif key not in names and key in with_boxes and _plain(name) in ids:
            raise DataError(
                f"{path}: category {name!r} is id {key} here and id {ids[_plain(name)]} in the "
                "training annotations, one class under two ids; use the same ids in both"
            )


def _plain(name: str) -> str:
    """Returns a name without what tools and people change: case, spaces, composed letters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
