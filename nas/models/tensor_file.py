"""Files of this toolkit with tensors: safetensors, with everything else as JSON in the header.

No pickle, so such a file runs no code when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.errors import RunError

CHECKPOINT_VERSION = 2
"""Stands in the header of a checkpoint, which `nas.training.checkpoint` writes."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes a safetensors file whose header holds `header` as JSON, and flushes it.

    Raises:
        RunError: the disk doesn't take it.
    """
    copies = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    try:
        save_file(copies, path, metadata={"nas": json.dumps(header, allow_nan=False)})
        flush(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: can't be written ({error}); make room on the disk, then type this again"
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `write_tensors` wrote.

    Raises:
        RunError: no such file, damaged, or not written by this toolkit.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["nas"])
            names = file.keys()  # what safe_open returns is no mapping
            return {name: file.get_tensor(name) for name in names}, header
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        # The last is torch's, where a training takes the file's place while it is opened.
        raise RunError(f"{path}: can't be read as a checkpoint ({error})") from None


def flush(path: Path) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
