"""Contact sheets: pictures with boxes and names, side by side in one file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from nas.data.cache import refuse_if_none
from nas.data.coco import Image, Split
from nas.data.resize import read_rgb, resize
from nas.errors import DataError
from nas.ui.draw import draw_boxes

log = logging.getLogger(__name__)


def contact_sheet(
    split: Split,
    path: Path | str,
    *,
    images: int = 16,
    columns: int = 4,
    tile: int = 320,
    seed: int = 0,
) -> Path:
    """Writes a PNG of some images of a split with their boxes and names: `nas data show`.

    In the place of an image that can't be decoded stands a grey square with its name, and a
    warning counts them.

    Args:
        split: Where the images come from.
        path: The PNG to write.
        images: How many, drawn at random with `seed`.
        columns: Images a row.
        tile: Side of each image's square in pixels.
        seed: Other seeds show other images.

    Images that can't be decoded make room for others, and one warning counts them.

    Returns:
        The path written.

    Raises:
        DataError: No image can be decoded, or the disk doesn't take the file.
    """
    rng = np.random.default_rng(abs(seed))
    tiles: dict[int, np.ndarray] = {}
    skipped = 0
    for place in rng.permutation(len(split.images)).tolist():
        if len(tiles) == images:
            break
        try:
            tiles[place] = _tile(split, split.images[place], tile)
        except DataError:
            skipped += 1
    if not tiles:
        refuse_if_none(split, np.zeros(len(split), dtype=bool))
    if skipped:
        log.warning(
            "%s: %d images drawn can't be decoded and aren't shown; `nas data check %s` lists them",
            *(split.json_path, skipped, split.root),
        )
    return write_png(side_by_side([tiles[place] for place in sorted(tiles)], columns), path)


def side_by_side(tiles: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Puts equal squares uint8 (S, S, 3) side by side, row by row on dark grey."""
    size = len(tiles[0])
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * size, min(columns, len(tiles)) * size, 3), 32, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * size, place % columns * size
        sheet[top : top + size, left : left + size] = tile
    return sheet


def write_png(picture: np.ndarray, path: Path | str, software: str = "") -> Path:
    """Writes uint8 (H, W, 3), and returns the path.

    Args:
        picture: The pixels.
        path: The file.
        software: What stands in the file as its maker.

    Raises:
        DataError: The disk doesn't take it.
    """
    path = Path(path)
    info = PngInfo()
    if software:
        info.add_text("Software", software)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(picture).save(path, format="PNG", pnginfo=info)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _tile(split: Split, image: Image, size: int) -> np.ndarray:
    """Draws one image as uint8 (size, size, 3); crowd boxes are marked as such."""
    square, place = resize(read_rgb(image.path), size, "letterbox")
    names = [split.categories[label - 1].name for label in image.labels]
    texts = [f"{n} (crowd)" if c else n for n, c in zip(names, image.crowd, strict=True)]
    return draw_boxes(square, place.to_input(image.boxes), texts, image.labels)
