"""What a user may set about data; torch-free."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

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


Range = tuple[float, float]


class AugmentSettings(Settings):
    """Random changes of training photos, made anew each time that one is shown.

    They are drawn on the photo as cached at `oversample` times the input, and its part that is seen
    is scaled once. See `nas.data.passes` for the sources of numbers.

    Attributes:
        chance: Probability of each of scale, stretch, translation, brightness, contrast and
            saturation, for each photo.
        scale: Range of the factor on the photo's size in the input.
        stretch: Range of further factors on its width and on its height, drawn apart.
        translate: Largest shift, as a share of the input's side.
        brightness: Largest number added to values, as a share of their range.
        contrast: Range of the factor on values.
        saturation: Range of the factor on HSV's saturation.
        iou_crop: Probability that the view is a crop around at least one box (`nas.data.iou_crop`).
        zoom_out: Probability that the photo lies somewhere in a larger empty ground.
        zoom_to: Largest side of that ground, in sides of the photo.
        mosaic: Probability that four photos meet in one input.
        mosaic_scale: Range of the factor on the size of each of them.
        mosaic_until: Share of the training, from its start, in which there are mosaics.
        oversample: Side of the cached pixels in sides of the input; above 1 crops show detail
            instead of blur.
    """

    chance: float = Field(default=0.5, ge=0, le=1)
    scale: Range | None = None
    stretch: Range | None = None
    translate: float = Field(default=0.0, ge=0, le=0.5)
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: Range | None = None
    saturation: Range | None = None
    iou_crop: float = Field(default=0.0, ge=0, le=1)
    zoom_out: float = Field(default=0.0, ge=0, le=1)
    zoom_to: float = Field(default=2.0, ge=1, le=4)
    mosaic: float = Field(default=0.0, ge=0, le=1)
    mosaic_scale: Range = (0.5, 1.5)
    mosaic_until: float = Field(default=0.8, ge=0, le=1)
    oversample: int = Field(default=2, ge=1, le=4)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name in ("scale", "stretch", "contrast", "saturation", "mosaic_scale"):
            limits = getattr(self, name)
            if limits is not None and not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name} {limits} is no range; give [low, high] above 0")
        return self


def cache_directory(root: Path | str | None = None) -> Path:
    """Returns the folder for pixels: `root`, $SPINENAS_CACHE, or ~/.cache/spinenas."""
    chosen = root or os.environ.get("SPINENAS_CACHE") or "~/.cache/spinenas"
    return Path(chosen).expanduser()
