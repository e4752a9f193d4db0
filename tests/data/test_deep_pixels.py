"""Pictures of 16 bits a channel, and those that use fewer of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from nas.data.resize import read_rgb, read_size
from nas.errors import DataError

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(values: np.ndarray, significant: int | None = None) -> bytes:
    """A 16-bit PNG of values (H, W, C), with the chunk sBIT or without."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    bits = chunk(b"sBIT", bytes([significant] * channels)) if significant else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + bits
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(values: np.ndarray, *, packed: bool = False, greatest: int | None = None) -> bytes:
    """A little-endian 16-bit TIFF of values (H, W, C), by deflate or raw."""
    height, width, channels = values.shape
    data = values.astype("<u2").tobytes()
    data = zlib.compress(data) if packed else data
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 16)),
        *((259, 3, 1, 8 if packed else 1), (262, 3, 1, 2 if channels == 3 else 1)),
        *((273, 4, 1, 0), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data))),
        *([(281, 3, 1, greatest)] if greatest else []),
    ]
    after = 8 + 2 + 12 * len(entries) + 4
    places = {273: after + len(bits), **({258: after} if channels > 2 else {})}
    directory = b"".join(
        struct.pack("<HHII", tag, kind, number, places.get(tag, value))
        for tag, kind, number, value in entries
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + directory + struct.pack("<I", 0) + bits + data


def ramp(bits: int, channels: int) -> np.ndarray:
    """A ramp (4, 64, C) from 0 to the greatest value of so many bits; channels run apart."""
    one = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16).reshape(4, 64)
    return np.stack([np.roll(one, k, axis=1) for k in range(channels)], axis=2)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "tif", "packed.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_scaled_over_the_bits_in_use(
    tmp_path: Path, kind: str, bits: int, channels: int
) -> None:
    values, path = ramp(bits, channels), tmp_path / f"a.{kind}"
    path.write_bytes(png(values) if kind == "png" else tiff(values, packed=kind != "tif"))
    pixels = read_rgb(path)
    assert read_size(path) == (64, 4)
    expected = np.broadcast_to(values / (2**bits - 1) * 255, pixels.shape)
    assert abs(pixels - expected).max() <= (1 if bits == 16 and channels == 3 else 0.5)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(ramp(12, 4)))
    (tmp_path / "b.png").write_bytes(png(ramp(12, 3)))
    assert (read_rgb(tmp_path / "a.png") == read_rgb(tmp_path / "b.png")).all()
    (tmp_path / "c.png").write_bytes(png(ramp(12, 2)))
    with pytest.raises(DataError, match="at most 14 bits are in use"):
        read_rgb(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(png(ramp(16, 2)))
    assert abs(read_rgb(tmp_path / "d.png")[..., 0] - ramp(16, 1)[..., 0] / 257).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_declared_depth_keeps_a_dark_picture_dark(tmp_path: Path, channels: int) -> None:
    dark = ramp(10, channels)  # a quarter of what 12 bits hold
    (tmp_path / "a.png").write_bytes(png(dark, significant=12))
    (tmp_path / "a.tif").write_bytes(tiff(dark, greatest=4095))
    for name in ("a.png", "a.tif"):
        assert read_rgb(tmp_path / name).max() == round(1023 / 4095 * 255)
    # Values above what is declared are scaled to the full range, as PNG wants them to be.
    (tmp_path / "b.png").write_bytes(png(ramp(16, channels), significant=12))
    assert read_rgb(tmp_path / "b.png").max() == 255


def test_packed_twelve_bits(tmp_path: Path) -> None:
    values = ramp(12, 1)
    flat = values.reshape(-1, 2).astype(np.uint32)
    data = ((flat[:, 0] << 12) | flat[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    whole = tiff(values)
    head = whole[: -values.size * 2].replace(
        struct.pack("<HHII", 258, 3, 1, 16), struct.pack("<HHII", 258, 3, 1, 12)
    )
    (tmp_path / "a.tif").write_bytes(head + data.tobytes())
    pixels = read_rgb(tmp_path / "a.tif")
    assert abs(pixels[..., :1] - values / 4095 * 255).max() <= 0.5


def test_pgm_declares_its_greatest_value(tmp_path: Path) -> None:
    head = b"P5\n64 4\n4095\n"
    (tmp_path / "a.pgm").write_bytes(head + (ramp(10, 1)).astype(">u2").tobytes())
    assert read_rgb(tmp_path / "a.pgm").max() == round(1023 / 4095 * 255)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70_000]], dtype=np.int32), "whole numbers from 0 to 70000 have no fixed"),
        (np.array([[-1, 70]], dtype=np.int32), "whole numbers from -1 to 70 have no fixed range"),
        (np.array([[0, 0.5]], dtype=np.float32), "floating-point pixels have no fixed range"),
    ],
)
def test_values_without_a_range_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    Pillow.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=message):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.filterwarnings("error")
def test_palettes_with_transparency(tmp_path: Path) -> None:
    picture = Pillow.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 128, 0])
    picture.save(tmp_path / "one.png", transparency=1)
    picture.save(tmp_path / "many.png", transparency=b"\x00\x80")
    picture.save(tmp_path / "a.gif", transparency=1)
    for name in ("one.png", "many.png", "a.gif"):
        assert read_rgb(tmp_path / name)[0, 0].tolist() == [255, 128, 0]
