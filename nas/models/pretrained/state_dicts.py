"""State dicts from elsewhere: read without running anything, and put in order.

What is read is hostile until it has been checked: sizes are limited before a file is opened,
pickles may hold tensors only, and every tensor is a plain one with finite numbers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas.errors import RunError
from nas.models.tensor_file import read_tensors

MAX_BYTES = 1_000_000_000
"""More than the largest detector of the zoo needs, with its averaged weights."""
COUNTER = "num_batches_tracked"
"""Batch norm's count of steps, which nothing here reads; old files lack it."""


class LayerState(NamedTuple):
    """The state of a convolution, batch norm or linear layer of a file.

    Attributes:
        name: with dots, as in the file.
        tensors: by their last name: weight, bias, running_mean, running_var.
    """

    name: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class StateDict:
    """What a file of weights holds.

    Attributes:
        path: of the file.
        tensors: by name, in the file's order.
        header: what this toolkit wrote beside them; None in files from elsewhere.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    header: Mapping[str, Any] | None = None

    @cached_property
    def layers(self) -> list[LayerState]:
        """The tensors by layer, in natural order of the layers' names."""
        return layers_of(self.tensors)


def read_state_dict(path: Path) -> StateDict:
    """Reads a `.safetensors` file, an `.npz` of arrays, or a `.pth` of tensors by name.

    In a file of this toolkit's own, weights stand beside other tensors, such as an optimizer's:
    there who uses some checks those.

    Raises:
        RunError: no such file, too large, damaged, not a plain dict of tensors, or with numbers
            that aren't finite.
    """
    _check_size(path)
    if _is_ours(path):
        own, header = read_tensors(path)
        return StateDict(path, own, header if isinstance(header, dict) else {})
    readers = {".safetensors": _safetensors, ".npz": _arrays}
    tensors = readers.get(path.suffix, _pickled)(path)
    if not isinstance(tensors, dict) or not tensors:
        raise RunError(f"{path}: holds no tensors by name; save model.state_dict() alone")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or len(name) > 200:
            raise RunError(f"{path}: one of its names is no text of at most 200 characters")
        check_tensor(tensor, f"{path}: {ascii(name)[1:-1]}")
    return StateDict(path, tensors)


def check_tensor(tensor: object, where: str) -> None:
    """Refuses what is no plain tensor of a sensible size with finite numbers.

    Raises:
        RunError: its text begins with `where`.
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


def layers_of(tensors: Mapping[str, Tensor]) -> list[LayerState]:
    """Returns tensors by layer, layers in the order of their names, numbers in them by value."""
    by_layer: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if last != COUNTER:
            by_layer.setdefault(layer, {})[last] = tensor
    return [LayerState(name, by_layer[name]) for name in sorted(by_layer, key=_natural)]


def blocks_of(layers: Iterable[LayerState], prefix: str) -> list[list[LayerState]]:
    """Returns the layers below `prefix`, grouped by the name that follows it."""
    blocks: dict[str, list[LayerState]] = {}
    for layer in layers:
        if layer.name.startswith(prefix):
            number = layer.name.removeprefix(prefix).split(".")[0]
            blocks.setdefault(number, []).append(layer)
    return list(blocks.values())


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Returns a key that sorts `features.10` behind `features.9`, numbers before words."""
    steps = name.split(".")
    return [(0, int(s), "") if s.isdecimal() and len(s) < 9 else (1, 0, s) for s in steps]


def _is_ours(path: Path) -> bool:
    """Tells whether this toolkit wrote a file, by its header alone."""
    try:
        with safe_open(path, framework="pt") as file:
            return "nas" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _check_size(path: Path) -> None:
    """Refuses a file that is too large, or would be once it is unpacked."""
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
    """Returns all tensors of a safetensors file from elsewhere."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: can't be read as safetensors ({_short(error)})") from None


def _arrays(path: Path) -> Any:
    """Returns all arrays of a file of numpy's, none of which is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: can't be read as arrays by name ({_short(error)})") from None


def _pickled(path: Path) -> Any:
    """Returns what `torch.save` wrote, if it is of types that run no code."""
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
    """Returns the first bytes of a file that is neither a zip, a pickle nor a tar; else nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return ""
    if head[:2] == b"PK" or head[:1] == b"\x80" or head[257:262] == b"ustar":
        return ""
    return repr(head[:16])[1:] if head else "nothing at all"


def _short(error: Exception) -> str:
    """Returns an error's first line, printable and cut."""
    lines = str(error).split("\n")
    return ascii(lines[0])[1:-1][:120] or type(error).__name__
