"""Opening data for a job: the user's folder or the built-in scenes, with pixels ready."""

from __future__ import annotations

import logging
from pathlib import Path

from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.decoding import open_pixels
from nas.data.resize import ResizeRule
from nas.data.rules import not_learnt, repeated_pictures
from nas.data.scenes import scenes_folder
from nas.data.settings import DataSettings
from nas.ui.console import counted

log = logging.getLogger(__name__)
_NAMED = 5  # classes: more would make a long line


def data_folder(named: Path | None, settings: DataSettings) -> Path:
    """Returns the user's folder, or else the built-in scenes, written on first use."""
    if named is not None:
        return named
    with counted("drawing scenes") as step:
        return scenes_folder(settings, progress=step)


def load_both(root: Path) -> tuple[Split, Split]:
    """Returns `train` and `val` with the same labels; notes what is odd but used."""
    train = load_split(root, "train")
    val = load_split(root, "val", categories=train.categories)
    _tell_what_cannot_be_learnt(train, val)
    for note in repeated_pictures(train, val):
        log.warning("%s", note)
    return train, val


def _tell_what_cannot_be_learnt(train: Split, val: Split) -> None:
    """Notes the classes that have boxes in `val` alone: each counts there as AP 0."""
    lost = [category.name for category in not_learnt(train, val)]
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        log.warning(
            "%s: has boxes of %s%s, and train has none: what isn't learnt counts as AP 0",
            val.json_path,
            ", ".join(lost[:_NAMED]),
            more,
        )


def pixels(split: Split, size: int, rule: ResizeRule, settings: DataSettings) -> PixelCache:
    """Returns the pixels of a split; a cache is made behind a progress bar on first use."""
    with counted(f"decoding {split.name}") as step:
        return open_pixels(split, size, rule, settings, progress=step)
