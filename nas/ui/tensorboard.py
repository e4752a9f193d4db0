"""TensorBoard's files of a training, where they are asked for: scalars and sample pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from nas.errors import ConfigError
from nas.evaluation.metrics import Metrics


class Board:
    """Writes into a folder that `tensorboard --logdir` reads.

    A training that goes on makes some steps again: what an earlier start wrote of these is hidden.

    Args:
        folder: Made with the first thing to write.
        enabled: Without it nothing is ever written.

    Raises:
        ConfigError: It is enabled, and the package isn't installed.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self.folder = folder
        self._make = _writer_class() if enabled else None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def scalars(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        """Writes numbers by name after `step` updates, under `group`; None is left out."""
        if writer := self._at(step):
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Writes a picture uint8 (H, W, 3) after `step` updates."""
        if writer := self._at(step):
            writer.add_image(name, picture, step, dataformats="HWC")

    def judged(self, metrics: Metrics, drawn: np.ndarray, step: int) -> None:
        """Writes the numbers on `val` and a picture of detections, after the last update."""
        numbers = {k: v for k, v in metrics.to_dict().items() if not isinstance(v, dict)}
        self.scalars("val", numbers, step)
        self.picture("val", drawn, step)

    def _at(self, step: int) -> Any:
        if self._writer is None and self._make is not None:
            self._writer = self._make(str(self.folder), purge_step=step)
        return self._writer


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "tensorboard: the package isn't installed; type pip install tensorboard, or leave "
            "--tensorboard out (metrics.jsonl and samples/ are written in any case)"
        ) from None
    return SummaryWriter
