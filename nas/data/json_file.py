"""JSON as annotation tools write it: its encodings, and keys that stand twice in an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.data.values import echo
from nas.errors import DataError

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_TABLES = ("images", "annotations", "categories")
_READ = {
    *_TABLES,
    *("id", "image_id", "category_id", "iscrowd", "bbox", "area", "segmentation"),
    *("file_name", "coco_url", "width", "height", "name"),
}


def parse(text: bytes, path: Path) -> Any:
    """Reads JSON in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Args:
        text: The bytes of the file.
        path: The file, for messages.

    Raises:
        DataError: The file is packed, or gives something two values under one key.
        ValueError: It isn't JSON.
    """
    for magic, name in ((_GZIP, "gzip"), (_ZIP, "zip")):
        if text.startswith(magic):
            raise DataError(f"{path}: a {name} file; unpack it and give the JSON file in it")
    twice: list[tuple[dict[str, Any], str, Any]] = []

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            # JSON's readers keep the last value without a word; here both are told.
            for key, value in pairs:
                if key in _READ and echo(value) != echo(table[key]):
                    twice.append((table, key, value))
        return table

    document = json.loads(text, object_pairs_hook=as_object)
    _refuse_two_values(document, twice, path)
    return document


def _refuse_two_values(
    document: Any, twice: list[tuple[dict[str, Any], str, Any]], path: Path
) -> None:
    """Refuses the first row, or the whole, that has two values under a key that is read."""
    if not twice or not isinstance(document, dict):
        return
    places = {id(document): "the top level"}
    for table in _TABLES:
        rows = document.get(table)
        for position, row in enumerate(rows if isinstance(rows, list) else []):
            places[id(row)] = f"{table}[{position}]"
    for owner, key, value in twice:
        if id(owner) in places:
            raise DataError(
                f"{path}: {places[id(owner)]} has two values of {key!r}, {echo(value)} and "
                f"{echo(owner[key])}; keep one"
            )
