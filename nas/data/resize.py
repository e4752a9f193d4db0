"""From an image file to a square of pixels: the one decoder and the one resize.

The cache, evaluation and prediction all come through here, so a model never meets pixels that
were scaled in another way than those it was trained on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from nas.data.deep_pixels import (
    colours_to_8_bits,
    deep_colours,
    grey_to_8_bits,
    is_deep_grey,
)
from nas.errors import DataError, one_line

ResizeRule = Literal["letterbox", "stretch"]

MAX_PIXELS = 100_000_000
"""Refused from the header on: a small file can unpack to an image that fills the memory."""

# Pillow would also open formats that start another program (EPS) or are rarely fuzzed.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


def picture_endings() -> frozenset[str]:
    """Returns the endings of file names, in lower case, of all formats that can be read."""
    Pillow.init()
    return frozenset(e for e, name in Pillow.registered_extensions().items() if name in FORMATS)


_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101
_TURNS = {  # EXIF orientation: what puts the picture upright
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Placement:
    """Where an image lies in its square input: `input = image * scale`, from the top left."""

    scale_x: float
    scale_y: float

    @property
    def _scales(self) -> np.ndarray:
        return np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Takes boxes xyxy (N, 4) from pixels of the image to pixels of the input."""
        return boxes * self._scales

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Takes boxes xyxy (N, 4) from pixels of the input to pixels of the image."""
        return boxes / self._scales


def content_size(width: int, height: int, size: int, rule: ResizeRule) -> tuple[int, int]:
    """Returns width and height in pixels that an image takes up in its square input of `size`."""
    if rule == "stretch":
        return size, size
    if rule != "letterbox":
        raise DataError(f"resize rule {rule!r} is unknown; use 'letterbox' or 'stretch'")
    # Integers only, rounding halves up: the same on every machine and for every size.
    longest = max(width, height)
    return tuple(  # type: ignore[return-value]
        max(1, (2 * side * size + longest) // (2 * longest)) for side in (width, height)
    )


def placement(width: int, height: int, size: int, rule: ResizeRule) -> Placement:
    """Returns the placement that `resize` would give an image of this width and height."""
    new_width, new_height = content_size(width, height, size, rule)
    return Placement(new_width / width, new_height / height)


def resize(image: np.ndarray, size: int, rule: ResizeRule) -> tuple[np.ndarray, Placement]:
    """Fits an image into a square, antialiased and bilinear.

    Args:
        image: uint8 (H, W, 3).
        size: Side of the square in pixels.
        rule: `letterbox` keeps the aspect, puts the image at the top left and pads with zeros;
            `stretch` fills the square.

    Returns:
        uint8 (size, size, 3), and the placement that takes boxes along.
    """
    height, width = image.shape[:2]
    new_width, new_height = content_size(width, height, size, rule)
    content = Pillow.fromarray(image)
    if (new_width, new_height) != (width, height):
        content = content.resize((new_width, new_height), Pillow.Resampling.BILINEAR)
    square = np.zeros((size, size, 3), dtype=np.uint8)
    square[:new_height, :new_width] = np.asarray(content)
    return square, Placement(new_width / width, new_height / height)


def read_size(path: Path | str) -> tuple[int, int]:
    """Returns width and height of an image file as shown, from its header.

    Raises:
        DataError: The file can't be opened, is no image, or has more than MAX_PIXELS pixels.
    """
    return read_header(path)[0]


def read_header(path: Path | str) -> tuple[tuple[int, int], int]:
    """Returns width and height of an image file as shown, and its EXIF orientation, 1 to 8.

    Raises:
        DataError: The file can't be opened, is no image, or has more than MAX_PIXELS pixels.
    """
    with _open(path) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Versions of Pillow differ in whether `size` is that before or after rotation.
            width, height = (image.tag_v2[tag] for tag in (_TIFF_WIDTH, _TIFF_HEIGHT))
        orientation = _orientation(image)
        return ((height, width) if orientation >= 5 else (width, height)), orientation


def read_rgb(path: Path | str) -> np.ndarray:
    """Decodes an image file of any colour mode to uint8 (H, W, 3), upright by its EXIF tag.

    Grey, palette and CMYK are converted, 16 bits are scaled to 8 over the depth that is in use
    (see `nas.data.deep_pixels`), transparency is dropped, and of an animation the first frame is
    taken.

    Raises:
        DataError: The file can't be opened or decoded, or has more than MAX_PIXELS pixels.
    """
    with _open(path) as image:
        # Pillow turns TIFF files itself while it decodes them.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
        try:
            deep = deep_colours(image)
            image.load()
            rgb = colours_to_8_bits(image, path) if deep else image
            rgb = _to_rgb(rgb, path)
        except Exception as error:  # decoders raise nearly anything
            raise _undecodable(path, error) from error
        return np.array(rgb.transpose(_TURNS[orientation]) if orientation > 1 else rgb)


def read_thumbnail(path: Path | str, side: int) -> np.ndarray:
    """Decodes an image file to a small grey square uint8 (side, side), whatever its aspect.

    Of a JPEG little more is decoded than is shown: it costs a quarter of `read_rgb`, or less. EXIF
    rotation isn't applied.

    Raises:
        DataError: The file can't be opened or decoded, or has more than MAX_PIXELS pixels.
    """
    with _open(path) as image:
        if image.format == "JPEG":
            try:
                image.draft("L", (2 * side, 2 * side))  # at least twice as large as shown
                grey = image.convert("L")
            except Exception as error:
                raise _undecodable(path, error) from error
        else:
            grey = Pillow.fromarray(read_rgb(path)).convert("L")
        return np.asarray(grey.resize((side, side), Pillow.Resampling.BOX))


def _open(path: Path | str) -> Pillow.Image:
    """Opens an image lazily and refuses it by its header if it is too large."""
    try:
        image = Pillow.open(os.fspath(path), formats=FORMATS)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image file; check file_name or copy it there") from None
    except Pillow.DecompressionBombError:
        raise DataError(_too_large(path)) from None
    except Exception as error:
        raise DataError(
            f"{path}: not a readable image ({_line(error)}); accepted are {', '.join(FORMATS)}"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise DataError(_too_large(path))
    return image


def _to_rgb(image: Pillow.Image, path: Path | str) -> Pillow.Image:
    if is_deep_grey(image):
        image = grey_to_8_bits(image, path)
    if image.mode == "F":
        raise DataError("floating-point pixels have no fixed range, save as 8 or 16 bit")
    image.info.pop("transparency", None)  # else Pillow warns that a palette's is dropped
    return image.convert("RGB")


def _orientation(image: Pillow.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; asked before decoding, so that all readers agree."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole picture to look for a tag behind the pixels
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block, in whatever way
        return 1
    return orientation if orientation in _TURNS else 1


def _undecodable(path: Path | str, error: Exception) -> DataError:
    return DataError(
        f"{path}: cannot be decoded ({_line(error)}); replace the file or leave it out"
    )


def _too_large(path: Path | str) -> str:
    return f"{path}: more than {MAX_PIXELS // 1_000_000} megapixels; scale it down before use"


def _line(error: Exception) -> str:
    return one_line(error) or type(error).__name__
