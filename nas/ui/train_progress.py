"""What a training shows while it runs: the bar, lines in logs, `metrics.jsonl`, TensorBoard."""

from __future__ import annotations

import time
from collections import deque

from rich.progress import Progress

from nas.runs.folder import Run
from nas.training.loop import Epoch
from nas.ui.console import say_in_logs
from nas.ui.metrics_log import MetricsFile
from nas.ui.tensorboard import Board

EVERY = 50
"""Updates between two rows of steps; each epoch has a row besides."""
RECENT = 20
"""Updates over which images a second are taken."""


class Follow:
    """Shows and records every update and every epoch of a training.

    Args:
        bar: The bars among which the training gets a line.
        run: The run whose `metrics.jsonl` gets the rows.
        board: TensorBoard's files.
        epochs: Epochs of the whole training.
        steps: Updates of an epoch.
        images: Images of an update.
    """

    def __init__(
        self, bar: Progress, run: Run, board: Board, epochs: int, steps: int, images: int
    ) -> None:
        self.bar, self.board = bar, board
        self.epochs, self.steps, self.images = epochs, steps, images
        self._rows = MetricsFile(run.metrics)
        self._times: deque[float] = deque(maxlen=RECENT + 1)
        self.task = bar.add_task("training", total=epochs * steps, note="")

    def step(self, number: int, lr: float, loss: float) -> None:
        """Shows an update that was done, `number` counted from 0."""
        self._times.append(time.perf_counter())
        rate, done = self._rate(), number + 1
        shown = "" if rate is None else f"  {rate:.3g} images/s"
        note = f"epoch {number // self.steps + 1}/{self.epochs}  loss {loss:.3f}{shown}"
        self.bar.update(self.task, completed=done, note=note)
        if done % EVERY or done % self.steps == 0:
            return
        row = {"loss": loss, "lr": lr, "images_per_second": rate}
        self._rows.add({"step": done, **row})
        self.board.scalars("train", row, done)

    def epoch(self, epoch: Epoch) -> None:
        """Shows and records an epoch that has ended."""
        rate = epoch.images / max(epoch.seconds, 1e-9)
        row = {"lr": epoch.lr, **epoch.losses, "loss": epoch.loss, "images_per_second": rate}
        self._rows.add({"epoch": epoch.number, "step": epoch.step, **row})
        self.board.scalars("epoch", row, epoch.step)
        say_in_logs(
            f"epoch {epoch.number}/{self.epochs}  loss {epoch.loss:.3f}  {rate:.3g} images/s"
        )

    def _rate(self) -> float | None:
        """Returns images a second over the last updates, with all that came between them."""
        seconds = self._times[-1] - self._times[0]
        return (len(self._times) - 1) * self.images / seconds if seconds > 0 else None
