"""State dicts from elsewhere: read without running anything, and put in order.

What is read is hostile until it has been checked: sizes are limited before a file is opened,
pickles may hold tensors only, and every tensor is a plain one with finite numbers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas.errors import RunError

MAX_BYTES = 1_000_000_000
"""More than the largest detector of the zoo needs, with its averaged weights."""
COUNTER = "num_batches_tracked"
"""Batch norm's count of steps, which nothing here reads; old files lack it."""


class Layer(NamedTuple):
    """A convolution, batch norm or linear layer of a file.

    Attributes:
        name: with dots, as in the file.
        tensors: by their last name: weight, bias, running_mean, running_var.
    """

    name: str
    tensors: dict[str, Tensor]


def is_ours(path: Path) -> bool:
    """Tells whether ``nas`` wrote a file, by its header alone.

    Raises:
        RunError: there is no such file.
    """
    _check_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            return "nas" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads a ``.safetensors`` file, or a ``.pth`` of tensors by name.

    Raises:
        RunError: no such file, too large, damaged, not a plain dict of tensors, or with numbers
            that aren't finite.
    """
    _check_size(path)
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    if not isinstance(tensors, dict) or not tensors:
        raise RunError(f"{path}: holds no tensors by name; save model.state_dict() alone")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or len(name) > 200:
            raise RunError(f"{path}: one of its names is no text of at most 200 characters")
        check_tensor(tensor, f"{path}: {ascii(name)[1:-1]}")
    return tensors


def check_tensor(tensor: object, where: str) -> None:
    """Refuses what is no plain tensor of a sensible size with finite numbers.

    Raises:
        RunError: its text begins with ``where``.
    """
    if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.is_quantized:
        raise RunError(f"{where} is no plain tensor; save model.state_dict() alone")
    # A few stored bytes can stand for a tensor of any shape.
    if tensor.numel() * tensor.element_size() > MAX_BYTES:
        raise RunError(
            f"{where} has {tensor.numel():,} numbers; legal: {MAX_BYTES:,} bytes of them"
        )
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise RunError(f"{where} has numbers that aren't finite")


def layers_of(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """Tensors by layer, the layers in the order of their names, numbers in them by value."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if last != COUNTER:
            found.setdefault(layer, {})[last] = tensor
    return [Layer(name, found[name]) for name in sorted(found, key=_natural)]


def blocks_of(layers: Iterable[Layer], prefix: str) -> list[list[Layer]]:
    """Layers whose name starts with ``prefix``, together where the number after it is the same."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.name.startswith(prefix):
            number = layer.name.removeprefix(prefix).split(".")[0]
            found.setdefault(number, []).append(layer)
    return list(found.values())


def _natural(name: str) -> list[tuple[int, int, str]]:
    steps = name.split(".")
    return [(0, int(s), "") if s.isdecimal() and len(s) < 9 else (1, 0, s) for s in steps]


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise RunError(f"{path}: can't be read ({error})") from None
    if size > MAX_BYTES:
        raise RunError(f"{path}: {size:,} bytes; legal: at most {MAX_BYTES:,}")


def _safetensors(path: Path) -> Any:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: can't be read as safetensors ({_short(error)})") from None


def _pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged or hostile file makes it raise has no common base
        if start := _not_saved_by_torch(path):
            raise RunError(
                f"{path}: holds no weights, it begins with {start}; legal: a .safetensors file, or "
                "what torch.save(model.state_dict(), …) has written"
            ) from None
        raise RunError(
            f"{path}: no plain dict of tensors ({_short(error)}); no code in a file is ever run: "
            "save model.state_dict() alone"
        ) from None


def _not_saved_by_torch(path: Path) -> str:
    """The first bytes of a file that is neither a zip, a pickle nor a tar; else nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return ""
    if head[:2] == b"PK" or head[:1] == b"\x80" or head[257:262] == b"ustar":
        return ""
    return repr(head[:16])[1:] if head else "nothing at all"


def _short(error: Exception) -> str:
    lines = str(error).split("\n")
    return ascii(lines[0])[1:-1][:120] or type(error).__name__
