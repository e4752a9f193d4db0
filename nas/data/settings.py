"""What a user may set about data; torch-free."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from nas.settings import Settings


class DataSettings(Settings):
    """How a folder of images becomes training images, a hold-out and cached pixels.

    Attributes:
        holdout: Share of `train` on which trials are scored; `val` is never read by a search.
        holdout_by: `blocks` keeps neighbouring video frames on one side; `images` draws single
            images, for folders whose pictures have nothing to do with each other.
        holdout_blocks: Number of contiguous runs that the hold-out is made of, at most; more cover
            rare classes better, fewer have fewer ends with a training image next to them.
        scenes: Which built-in scenes stand in when no folder is given.
        scene_images: Number of built-in scenes, training and validation together.
        pixels: `cache` decodes each image once and keeps its pixels on the disk, `decode` decodes
            it in each epoch anew: slower, for folders whose pixels the disk can't hold.
        cache_dir: Where decoded pixels and built-in scenes are kept; None takes the environment
            variable SPINENAS_CACHE, or else ~/.cache/spinenas.
    """

    holdout: float = Field(default=0.1, gt=0, lt=1)
    holdout_by: Literal["blocks", "images"] = "blocks"
    holdout_blocks: int = Field(default=40, ge=1)
    scenes: Literal["easy", "hard"] = "easy"
    scene_images: int = Field(default=600, ge=10)
    pixels: Literal["cache", "decode"] = "cache"
    cache_dir: Path | None = None


def cache_directory(root: Path | str | None = None) -> Path:
    """Returns the folder for pixels: `root`, $SPINENAS_CACHE, or ~/.cache/spinenas."""
    chosen = root or os.environ.get("SPINENAS_CACHE") or "~/.cache/spinenas"
    return Path(chosen).expanduser()
