"""Decoding of every kind of image, and the one resize."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from nas.data.resize import content_size, placement, read_rgb, read_size, resize
from nas.errors import DataError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves() -> Pillow.Image:
    """8x4: the left half red, the right half blue."""
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4], pixels[:, 4:] = RED, BLUE
    return Pillow.fromarray(pixels)


def test_letterbox_by_hand() -> None:
    image = np.full((480, 640, 3), 200, dtype=np.uint8)
    square, place = resize(image, 128, "letterbox")
    assert (square[:96] == 200).all()
    assert (square[96:] == 0).all()
    assert (place.scale_x, place.scale_y) == (0.2, 0.2)
    boxes = np.array([[100, 50, 300, 480]], dtype=np.float32)
    assert place.to_input(boxes) == pytest.approx(np.array([[20, 10, 60, 96]]))
    assert place.to_image(place.to_input(boxes)) == pytest.approx(boxes)


def test_stretch_by_hand() -> None:
    square, place = resize(np.full((50, 200, 3), 9, dtype=np.uint8), 100, "stretch")
    assert (square == 9).all()
    assert (place.scale_x, place.scale_y) == (0.5, 2.0)


def test_letterbox_enlarges_small_images() -> None:
    square, place = resize(np.full((10, 5, 3), 77, dtype=np.uint8), 40, "letterbox")
    assert (place.scale_x, place.scale_y) == (4, 4)
    assert (square[:, :20] == 77).all()
    assert (square[:, 20:] == 0).all()


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 254
    square, _ = resize(stripes, 64, "stretch")
    # Picking every fourth pixel would give 0 or 254.
    assert abs(square[:, 2:-2].astype(int) - 127).max() <= 2


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(DataError, match="resize rule 'crop' is unknown"):
        resize(np.zeros((4, 4, 3), dtype=np.uint8), 8, "crop")  # type: ignore[arg-type]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(16, 1280))
def test_letterbox_keeps_the_aspect_and_fills_one_side(width: int, height: int, size: int) -> None:
    new_width, new_height = content_size(width, height, size, "letterbox")
    assert max(new_width, new_height) == size
    scale = Fraction(size, max(width, height))
    assert abs(new_width - max(Fraction(1), width * scale)) <= Fraction(1, 2)
    assert abs(new_height - max(Fraction(1), height * scale)) <= Fraction(1, 2)
    place = placement(width, height, size, "letterbox")
    assert place.scale_x * width == pytest.approx(new_width)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK"])
def test_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    halves().convert(mode).save(path)
    pixels = read_rgb(path)
    assert pixels.shape == (4, 8, 3)
    assert pixels.dtype == np.uint8
    expected = halves().convert(mode).convert("RGB")
    assert (pixels == np.asarray(expected)).all()
    if mode in ("RGB", "RGBA", "P", "CMYK"):
        assert tuple(pixels[0, 0]) == RED
        assert tuple(pixels[0, 7]) == BLUE


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_over_their_full_range(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Pillow.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert read_rgb(tmp_path / f"a.{suffix}")[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    big = halves().resize((64, 32), Pillow.Resampling.NEAREST)
    path = tmp_path / f"a.{suffix}"
    big.save(path, exif=exif)
    pixels = read_rgb(path)
    upright = np.asarray(ImageOps.exif_transpose(Pillow.open(path)).convert("RGB"))
    assert (pixels == upright).all()
    assert read_size(path) == (pixels.shape[1], pixels.shape[0])
    assert read_size(path) == ((32, 64) if orientation >= 5 else (64, 32))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Pillow.new("RGB", (6, 6), RED), Pillow.new("RGB", (6, 6), BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(read_rgb(tmp_path / "a.gif")[0, 0]) == RED


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 60_000])
def test_pixel_limit_is_checked_from_the_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    for reader in (read_rgb, read_size):
        with pytest.raises(DataError, match="more than 100 megapixels"):
            reader(path)


def test_broken_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    halves().resize((200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:700])
    assert read_size(path) == (200, 200)
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded \(.*truncated"):
        read_rgb(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match="not a readable image"):
        read_rgb(path)
    with pytest.raises(DataError, match="no such image file"):
        read_rgb(tmp_path / "none.png")
