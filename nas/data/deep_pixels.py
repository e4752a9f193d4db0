"""Pictures of more than 8 bits a channel: how many of their bits are in use, and 8-bit pixels.

Cameras and microscopes write 10, 12 or 14 bits into 16-bit files, most of them without saying so.
Over the full range such a picture would be nearly black. Its depth therefore is

1. what the file declares (TIFF's BitsPerSample and MaxSampleValue, PNG's sBIT, PGM's maximum),
   unless a pixel is greater than that;
2. else the least of 8, 10, 12, 14 and 16 bits that holds the picture's greatest value.

Either follows from the file alone, so that a picture has the same pixels in training and in use.
Depths are two bits apart, so that pictures of one camera fall together unless one is very dark.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from nas.errors import DataError

DEPTHS = (8, 10, 12, 14, 16)

_TIFF_BITS, _TIFF_MAX = 0x0102, 0x0119
_PNG_HEADER = 8
_MAX_CHUNKS = 64  # before the pixels; real files have under ten


def is_deep_grey(image: Pillow.Image) -> bool:
    """Returns whether a decoded picture has one channel of 16-bit or 32-bit whole numbers."""
    return image.mode == "I" or image.mode.startswith("I;16")


def grey_to_8_bits(image: Pillow.Image, path: Path | str) -> Pillow.Image:
    """Scales a deep grey picture to mode L.

    Raises:
        DataError: It has values below 0 or above 65535.
    """
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"whole numbers from {low} to {high} have no fixed range, save as 8 or 16 bit"
        )
    declared = 16 if image.format == "PPM" else _declared(image, path)
    return Pillow.fromarray(_scaled(values, _depth(high, declared)))


def deep_colours(image: Pillow.Image) -> bool:
    """Returns whether a picture, not yet decoded, has 16-bit colours; Pillow keeps the upper 8."""
    return image.mode in ("RGB", "RGBA") and ";16" in _raw_mode(image)


def colours_to_8_bits(upper: Pillow.Image, path: Path | str) -> Pillow.Image:
    """Scales a picture with colours of 16 bits that uses fewer of them.

    Args:
        upper: As decoded, with the upper 8 bits of each value.
        path: The file.

    Returns:
        The same picture if it uses all 16 bits, else one that is scaled.

    Raises:
        DataError: It uses fewer, and the lower bits can't be had.
    """
    high = np.asarray(upper.convert("RGB"))
    if int(high.max()) >> 6:
        return upper
    values = high.astype(np.int64) * 256 + _lower_bytes(path)
    return Pillow.fromarray(_scaled(values, _depth(int(values.max()), _declared(upper, path))))


def _lower_bytes(path: Path | str) -> np.ndarray:
    """Returns the lower 8 bits (H, W, 3), by decoding the file with its bytes swapped."""
    with Pillow.open(os.fspath(path), formats=("PNG", "TIFF")) as image:
        raw_mode = _raw_mode(image)
        if not raw_mode.startswith(("RGB;16", "RGBA;16")):
            raise DataError(
                "16-bit values of which at most 14 bits are in use, in channels that can't be "
                "scaled, save as 8-bit RGB"
            )
        # N is the machine's own order, little-endian wherever PyTorch runs.
        swapped = raw_mode[:-1] + ("L" if raw_mode.endswith("B") else "B")
        image.tile = [
            tile._replace(args=(swapped, *tile.args[1:]) if type(tile.args) is tuple else swapped)
            for tile in image.tile
        ]
        return np.asarray(image.convert("RGB"))


def _raw_mode(image: Any) -> str:
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    return str(args if isinstance(args, str) else args[0] if args else "")


def _depth(greatest: int, declared: int | None) -> int:
    if declared is not None and greatest < 1 << declared:
        return declared
    return next(depth for depth in DEPTHS if greatest < 1 << depth)


def _scaled(values: np.ndarray, depth: int) -> np.ndarray:
    """Scales values below `2 ** depth` to uint8, with halves rounded up."""
    top = (1 << depth) - 1
    return ((values * 255 + top // 2) // top).astype(np.uint8)


def _declared(image: Pillow.Image, path: Path | str) -> int | None:
    """Returns the depth that the file declares, where it is less than 16."""
    if image.format == "PNG":
        depth = _significant_bits(path)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        depth = min(_tiff_numbers(image, _TIFF_BITS, 16))
        if depth >= 16:
            depth = max(_tiff_numbers(image, _TIFF_MAX, 65535)).bit_length()
    else:
        return None
    return depth if depth is not None and 8 <= depth < 16 else None


def _tiff_numbers(image: TiffImagePlugin.TiffImageFile, tag: int, default: int) -> list[int]:
    value = image.tag_v2.get(tag, default)
    numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, int)]
    return numbers or [default]


def _significant_bits(path: Path | str) -> int | None:
    """Reads a PNG's chunk sBIT, of its first channels; Pillow doesn't."""
    with open(path, "rb") as file:
        file.seek(_PNG_HEADER)
        for _ in range(_MAX_CHUNKS):
            head = file.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"sBIT" and 1 <= length <= 4:
                return max(file.read(length)[:3], default=None)
            if kind in (b"IDAT", b""):
                return None
            file.seek(length + 4, os.SEEK_CUR)
    return None
