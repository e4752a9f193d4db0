"""Checkpoints: tensors in one safetensors file, everything else as JSON in its header.

No pickle, so a checkpoint runs no code when read. A file is written under a temporary name,
flushed and renamed; the one before it is kept, and used when the last can't be read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas.errors import RunError
from nas.training.settings import RecipeSettings

VERSION = 1
_log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """All that changes while a model is trained; what resuming needs, and no more."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    epoch: int = 0  # epochs finished
    step: int = 0  # updates made

    @classmethod
    def start(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: RecipeSettings,
        device: torch.device,
    ) -> Self:
        """Returns the state before the first update."""
        ema = None
        if recipe.ema:
            average = get_ema_multi_avg_fn(recipe.ema)
            ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        return cls(model, optimizer, scaler, ema)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name: `model.…`, `ema.…`, `optimizer.<moment>.<weight>`."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.ema is not None:
            found |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        for name, weight in self.model.named_parameters():
            for moment, tensor in self.optimizer.state.get(weight, {}).items():
                if isinstance(tensor, Tensor):  # SGD without momentum keeps None
                    found[f"optimizer.{moment}.{name}"] = tensor
        return found

    def load(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Takes over what `tensors` and the header's counters hold, in place.

        Moments get the memory layout of their weights, which fused updates expect.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        if self.ema is not None:
            self.ema.load_state_dict(parts["ema"])
        weights = dict(self.model.named_parameters())
        for name, tensor in parts["optimizer"].items():
            moment, _, weight_name = name.partition(".")
            weight = weights[weight_name]
            like = weight.detach() if tensor.shape == weight.shape else tensor
            held = torch.empty_like(like, dtype=tensor.dtype, device=weight.device)
            self.optimizer.state[weight][moment] = held.copy_(tensor)
        self.epoch, self.step = int(counters["epoch"]), int(counters["step"])
        if counters["scaler"]:
            self.scaler.load_state_dict(dict(counters["scaler"]))


class Checkpoints:
    """The last two checkpoints of one training run, in a folder of their own.

    Args:
        folder: made if it isn't there; holds `last.safetensors` and `previous.safetensors`.
        identity: what must be the same when the run goes on (genome, data, recipe, seed), as
            JSON values; any difference is refused by name.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.last = folder / "last.safetensors"
        self.previous = folder / "previous.safetensors"

    def save(self, state: TrainingState) -> None:
        """Writes the state beside the last one, then takes its place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {
            "version": VERSION,
            "identity": self.identity,
            "epoch": state.epoch,
            "step": state.step,
            "scaler": state.scaler.state_dict(),
        }
        new = self.folder / "new.safetensors"
        write_tensors(new, state.tensors(), header)
        if self.last.exists():
            os.replace(self.last, self.previous)
        os.replace(new, self.last)
        _flush(self.folder)

    def load_into(self, state: TrainingState) -> bool:
        """Fills `state` from the last good checkpoint; returns False if there is none.

        Raises:
            RunError: the checkpoint is of another version or run, or none can be read.
        """
        found = [path for path in (self.last, self.previous) if path.exists()]
        for path in found:
            try:
                tensors, header = read_tensors(path)
            except RunError as error:
                if path == found[-1]:
                    raise
                _log.warning("%s; going on from %s", error, self.previous.name)
                continue
            self._check(path, header)
            self._check_shapes(path, tensors, state)
            state.load(tensors, header)
            return True
        return False

    def _check(self, path: Path, header: Mapping[str, Any]) -> None:
        if header.get("version") != VERSION:
            raise RunError(
                f"{path}: checkpoint version {header.get('version')!r} is not {VERSION}; "
                "resume it with the release that wrote it"
            )
        different = _first_difference(header.get("identity"), self.identity)
        if different:
            raise RunError(f"{path}: belongs to another run, {different}; take another --run")

    def _check_shapes(
        self, path: Path, tensors: Mapping[str, Tensor], state: TrainingState
    ) -> None:
        for name, wanted in state.tensors().items():
            got = tensors.get(name)
            if got is None or got.shape != wanted.shape:
                met = "is missing" if got is None else f"has shape {tuple(got.shape)}"
                raise RunError(
                    f"{path}: {name} {met}, {tuple(wanted.shape)} expected; take another --run"
                )


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
        _flush(path)
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
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path}: can't be read as a checkpoint ({error})") from None


def _first_difference(saved: Any, current: Any, where: str = "") -> str | None:
    """Names the first value that differs, such as `recipe.lr 0.1, not 0.2`."""
    if isinstance(saved, dict) and isinstance(current, dict):
        for name in sorted(saved.keys() | current.keys()):
            inner = f"{where}.{name}" if where else name
            found = _first_difference(saved.get(name), current.get(name), inner)
            if found:
                return found
        return None
    return None if saved == current else f"{where or 'identity'} {saved!r}, not {current!r}"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
