"""Checkpoints: tensors in one safetensors file, everything else as JSON in its header.

No pickle, so a checkpoint runs no code when read. A file is written under a temporary name,
flushed and renamed; the one before it is kept, and used when the last can't be read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from torch import Tensor

from nas.changes import change
from nas.errors import RunError
from nas.files import lock
from nas.models.tensor_file import CHECKPOINT_VERSION, flush, read_tensors, write_tensors
from nas.training.state import TrainingState

HOLD_SECONDS = 30.0
"""How long a start waits for an earlier process that still writes to the same folder."""
_log = logging.getLogger(__name__)


class Checkpoints:
    """The last two checkpoints of one training run, in a folder of their own.

    Args:
        folder: made if it isn't there; holds `last.safetensors` and `previous.safetensors`.
        identity: what must be the same when the run goes on (genome, data, recipe, seed), as
            JSON values; any difference is refused, and named.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.last = folder / "last.safetensors"
        self.previous = folder / "previous.safetensors"
        self._lock: BaseFileLock | None = None

    def hold(self) -> None:
        """Makes this process the only one that writes here, for as long as this object lives.

        One that was killed may take a moment to end, its workers a little longer.

        Raises:
            RunError: another one goes on, or the folder can't be made.
        """
        if self._lock is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.folder.with_name(f"{self.folder.name}.lock"), HOLD_SECONDS)
        except TimeoutError:
            raise RunError(
                f"{self.folder}: another process trains here; wait for its end, or take another "
                "--run"
            ) from None
        except OSError as error:
            raise RunError(f"{self.folder}: can't be written ({error.strerror})") from None

    def save(self, state: TrainingState) -> None:
        """Writes the state beside the last one, then takes its place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {
            "version": CHECKPOINT_VERSION,
            "identity": self.identity,
            **state.counters(),
        }
        new = self.folder / "new.safetensors"
        try:
            write_tensors(new, state.tensors(), header)
        except RunError:
            new.unlink(missing_ok=True)  # a full disk needs the room
            raise
        if self.last.exists():
            os.replace(self.last, self.previous)
        os.replace(new, self.last)
        flush(self.folder)

    def load_into(self, state: TrainingState) -> bool:
        """Fills `state` from the last good checkpoint; returns False if there is none.

        Raises:
            RunError: the checkpoint is of another version or training, or none can be read.
        """
        candidates = [path for path in (self.last, self.previous) if path.exists()]
        for path in candidates:
            try:
                tensors, header = read_tensors(path)
            except RunError as error:
                if path == candidates[-1]:
                    raise
                _log.warning("%s; going on from %s", error, self.previous.name)
                continue
            self._check(path, header)
            self._check_shapes(path, tensors, state)
            state.load(tensors, header)
            return True
        return False

    def _check(self, path: Path, header: Mapping[str, Any]) -> None:
        if header.get("version") != CHECKPOINT_VERSION:
            raise RunError(
                f"{path}: checkpoint version {header.get('version')!r} is not "
                f"{CHECKPOINT_VERSION}; resume it with the release that wrote it"
            )
        if changed := change(header.get("identity"), self.identity, "this training began"):
            raise RunError(f"{path}: {changed}; restore it, or take another --run")

    def _check_shapes(
        self, path: Path, tensors: Mapping[str, Tensor], state: TrainingState
    ) -> None:
        for name, expected in state.tensors().items():
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != expected.shape:
                problem = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
                raise RunError(
                    f"{path}: {name} {problem}, {tuple(expected.shape)} expected; take another "
                    "--run"
                )
