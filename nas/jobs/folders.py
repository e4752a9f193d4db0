"""Opening data for a job: the user's folder or the built-in scenes, with pixels ready."""

from __future__ import annotations

from pathlib import Path

from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.decoding import open_pixels
from nas.data.resize import ResizeRule
from nas.data.scenes import scenes_folder
from nas.data.settings import DataSettings
from nas.jobs.screen import counted


def data_folder(given: Path | None, settings: DataSettings) -> Path:
    """The user's folder; without one, the built-in scenes, written on first use."""
    if given is not None:
        return given
    with counted("drawing scenes") as step:
        return scenes_folder(settings, progress=step)


def load_both(root: Path) -> tuple[Split, Split]:
    """``train`` and ``val`` with the same labels."""
    train = load_split(root, "train")
    return train, load_split(root, "val", categories=train.categories)


def pixels(split: Split, size: int, rule: ResizeRule, settings: DataSettings) -> PixelCache:
    """The pixels of a split; a cache is made behind a progress bar on first use."""
    with counted(f"decoding {split.name}") as step:
        return open_pixels(split, size, rule, settings, progress=step)
