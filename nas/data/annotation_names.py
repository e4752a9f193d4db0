"""The names of annotation files: which part of the data they are for, and how plainly they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.data.image_files import Part, part_named
from nas.errors import DataError

STANDARD = ("train", "val")
"""Words for parts that come before their synonyms."""

_NAMED = 5  # files: more would make a long line

# What tools put around the name of a part: `instances_train2017`, `lvis_v1_val`, `valid_coco`.
_STEM = re.compile(
    r"(?P<instances>instances_)?(?P<lvis>lvis_v(?P<version>[0-9.]+)_)?_?"
    r"(?P<word>[a-z]+)[ _-]?(?P<year>(19|20)\d\d)?(?P<rest>([._-](coco|annotations?|labels))*)"
)


def plainest(paths: Sequence[Path], part: Part, loose: str | None = None) -> Path | None:
    """Returns the annotation file of a part among others, by its name; None where there is none.

    Args:
        paths: JSON files.
        part: The part.
        loose: What a name may begin with that has more in it than the part; where no name is
            plain, one such file is taken, and several are refused.

    Raises:
        DataError: Several names are equally plain.
    """
    ranks = [(_rank(path, part, loose is not None), path) for path in paths]
    ranked = sorted((rank, path) for rank, path in ranks if rank is not None)
    if ranked:
        best = [path for rank, path in ranked if rank == ranked[0][0]]
        if len(best) > 1:
            refuse_to_choose(best)
        return best[0]
    if loose is None:
        return None
    words = ("train",) if part == "train" else (part, "valid")
    stems = [path for path in paths if path.stem.casefold().startswith(loose)]
    more = [path for path in stems if any(word in path.stem.casefold() for word in words)]
    if len(more) > 1:
        refuse_to_choose(more)
    # What goes on with a letter is another word: `valminusminival`.
    begins = re.compile(rf"{loose}({'|'.join(words)})(?![a-z])")
    return more[0] if more and begins.match(more[0].stem.casefold()) else None


def _rank(path: Path, part: Part, prefixed: bool) -> tuple[Any, ...] | None:
    """Ranks a file's name, the plainest first; None if it isn't the part's name alone.

    Where names are prefixed, in `annotations/`, those with `instances_` are the plain ones.
    """
    match = _STEM.fullmatch(path.stem.casefold())
    if match is None or part_named(match["word"]) != part:
        return None
    version = tuple(int(number) for number in re.findall(r"\d+", match["version"] or ""))
    return (
        match["word"] not in (*STANDARD, "test"),
        not path.stem.islower(),
        bool(match["instances"]) != prefixed,
        bool(match["lvis"]),
        tuple(-number for number in version),
        -int(match["year"] or 0),
        len(match["rest"]),
    )


def refuse_to_choose(paths: Sequence[Path]) -> None:
    """Raises a DataError that names files of which each could be meant."""
    names = ", ".join(path.name for path in paths[:_NAMED])
    raise DataError(
        f"{paths[0].parent}: {names} could each be meant; keep one there, or give one the plain "
        "name, such as train.json and val.json"
    )
