"""What a training shows while it runs, and what of it stays in the run's folder."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from nas.cli.main import main
from nas.data.batches import Batch
from nas.data.coco import Category, load_split
from nas.data.resize import read_rgb
from nas.errors import ConfigError
from nas.runs.folder import Run
from nas.training.loop import Epoch
from nas.ui import train_progress as follow
from nas.ui.console import console, progress_bar
from nas.ui.draw import colour_of
from nas.ui.metrics_log import MetricsFile
from nas.ui.samples import TILE, found_on, learnt_from
from nas.ui.tensorboard import Board
from nas.ui.train_progress import Follow
from tests.jobs.conftest import TINY_TRAINING

MODULE = "torch.utils.tensorboard"


def epoch(number: int, steps: int) -> Epoch:
    return Epoch(number, number * steps, 0.1, {"classification": 0.5, "boxes": 0.25}, 2.0, 32)


def followed(run: Run, steps: int, epochs: range, board: Board | None = None) -> None:
    """Tells of whole epochs of a training of four."""
    board = board or Board(run.tensorboard, enabled=False)
    with progress_bar() as bar:
        watch = Follow(bar, run, board, 4, steps, images=8)
        for number in epochs:
            for step in range((number - 1) * steps, number * steps):
                watch.step(step, 0.1, 1.5)
            watch.epoch(epoch(number, steps))


def rows_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


# --- the bar and the rows ---------------------------------------------------------------------


def test_the_bar_says_where_it_is_and_how_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr(follow.time, "perf_counter", lambda: float(next(now)))
    bar = progress_bar()
    watch = Follow(bar, Run(tmp_path), Board(tmp_path, enabled=False), 3, 10, images=8)
    for step in range(12):
        watch.step(step, 0.1, 0.512)
    (task,) = bar.tasks
    assert (task.completed, task.total) == (12, 30)
    assert task.fields["note"] == "epoch 2/3  loss 0.512  4 images/s"  # 8 images in 2 s
    assert not console.is_terminal
    watch.epoch(epoch(1, 10))
    assert "epoch 1/3  loss 0.750  16 images/s" in capsys.readouterr().out  # 32 images in 2 s


def test_rows_stand_every_fifty_updates_and_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    followed(Run(tmp_path), 100, range(1, 3))
    rows = rows_of(Run(tmp_path))
    assert [row["step"] for row in rows] == [50, 100, 150, 200]
    assert [row.get("epoch") for row in rows] == [None, 1, None, 2]
    assert rows[1] == {
        "epoch": 1,
        "step": 100,
        "lr": 0.1,
        "classification": 0.5,
        "boxes": 0.25,
        "loss": 0.75,
        "images_per_second": 16.0,
    }


def test_a_training_that_goes_on_has_each_row_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    followed(run, 60, range(1, 4))
    before = rows_of(run)
    with run.metrics.open("a") as file:
        file.write('{"step": 230, "lo')  # cut short by a kill
    MetricsFile(run.metrics)
    assert len(run.metrics.read_text().splitlines()) == len(before) + 1  # nothing new, nothing lost
    followed(run, 60, range(3, 5))  # the third epoch was in no checkpoint
    rows = rows_of(run)
    assert [row["epoch"] for row in rows if "epoch" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [50, 60, 100, 120, 150, 180, 200, 240]
    assert rows[:4] == before[:4]


# --- pictures ---------------------------------------------------------------------------------


def test_training_pictures_show_the_boxes_of_the_batch() -> None:
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    boxes = torch.tensor([[[8.0, 16, 40, 48], [0, 0, 0, 0]], [[4, 32, 20, 60], [24, 24, 56, 40]]])
    labels = torch.tensor([[2, 0], [1, 2]])
    sheet = learnt_from(Batch(images, boxes, labels, [1, 2]), [Category(7, "nut"), Category(9, "")])
    assert sheet.shape == (TILE, 2 * TILE, 3)
    edge = TILE // 64  # pixels of the sheet for one of the input
    assert sheet[48 * edge - 1, 20 * edge].tolist() == list(colour_of(2))
    assert sheet[50 * edge, TILE + 4 * edge].tolist() == list(colour_of(1))
    assert not sheet[52 * edge :, :TILE].any()


def test_found_boxes_are_drawn_from_a_score_on(data: Path) -> None:
    val = load_split(data, "val")
    image = val.images[0]
    boxes = np.array([[48.0, 96.0, 144.0, 180.0], [0, 0, 24, 24]])
    found = {"boxes": boxes, "labels": np.array([1, 2]), "scores": np.array([0.9, 0.1])}
    sheet = found_on(val, {image.id: found})
    assert sheet.shape == (TILE, TILE, 3) and image.width == image.height == 192
    around = sheet[297:302, 100:220]  # the lower edge is at 180 · 320 / 192 = 300
    assert (around == colour_of(1)).all(axis=2).any(axis=0).all()
    assert not (sheet == colour_of(2)).all(axis=2).any()


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def words(home: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A tiny training, but for its folder."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("SPINENAS_CACHE", str(home / "cache"))
    return ["train", "--genome", "spinenet-49", "--data", str(data), *TINY_TRAINING]


def test_the_folder_holds_pictures_without_tensorboard(trained: Path) -> None:
    learnt, found = (read_rgb(trained / "samples" / f"{name}.png") for name in ("train", "val"))
    assert learnt.shape == (2 * TILE, 4 * TILE, 3) and len(found) == 2 * TILE
    assert learnt.any() and found.any()
    assert not (trained / "tensorboard").exists()


def test_a_training_that_loses_its_last_checkpoint_has_no_epoch_twice(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = Run(tmp_path / "run"), Follow.epoch

    def stopped(self: Follow, epoch: Epoch) -> None:
        told(self, epoch)
        if epoch.number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Follow, "epoch", stopped)
        assert main([*words, "--run", str(run.path), "--set=recipe.epochs=3"]) == 130
    first = rows_of(run)
    assert [row["epoch"] for row in first] == [1, 2]
    (run.checkpoints / "last.safetensors").unlink()
    assert main(["resume", str(run.path)]) == 0
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[1]["loss"] == first[1]["loss"]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_without_the_package_tensorboard_is_refused_before_anything_is_done(
    options: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert main([*words, "--run", str(tmp_path / "run"), "--tensorboard", *options]) == 2
    error = capfd.readouterr().err
    assert error.startswith("nas: tensorboard: ") and error.count("\n") == 1
    assert "pip install tensorboard" in error
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="leave --tensorboard out"):
        Board(tmp_path, enabled=True)


class StandIn:
    """Takes the place of torch's `SummaryWriter`, and remembers what it was told."""

    made: list[StandIn] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = Path(folder), purge_step, False
        self.numbers: dict[str, list[int]] = {}
        self.pictures: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        assert np.isfinite(value)
        self.numbers.setdefault(name, []).append(step)

    def add_image(self, name: str, picture: np.ndarray, step: int, *, dataformats: str) -> None:
        assert dataformats == "HWC" and picture.dtype == np.uint8
        self.pictures[name] = step, picture.shape

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_scalars_and_pictures(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType(MODULE)
    module.SummaryWriter = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(StandIn, "made", [])
    run = Run(tmp_path / "run")
    assert main([*words, "--run", str(run.path), "--tensorboard"]) == 0
    (board,) = StandIn.made
    assert (board.folder, board.purge_step, board.closed) == (run.tensorboard, 0, True)
    assert {name: step for name, (step, _) in board.pictures.items()} == {"train": 0, "val": 6}
    of_epochs = {"lr", "classification", "box_regression", "loss", "images_per_second"}
    epochs = {name.removeprefix("epoch/") for name in board.numbers if name.startswith("epoch/")}
    assert epochs == of_epochs
    assert board.numbers["epoch/loss"] == [3, 6] and board.numbers["val/ap50"] == [6]
    assert main(["resume", str(run.path)]) == 0  # finished: judged again, at the same place
    assert StandIn.made[1].numbers["val/ap50"] == [6] and StandIn.made[1].purge_step == 6
    assert re.search(r"^tensorboard: true$", run.config.read_text(), re.MULTILINE)


def test_tensorboard_itself_reads_what_was_written(tmp_path: Path) -> None:
    reason = "tensorboard, an optional extra, isn't installed"
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason=reason
    )
    run = Run(tmp_path)
    for epochs in (range(1, 4), range(3, 5)):  # the third is made twice
        with Board(run.tensorboard, enabled=True) as board:
            followed(run, 4, epochs, board)
            board.picture("train", np.zeros((8, 8, 3), dtype=np.uint8), 4 * epochs[0])
    read = accumulators.EventAccumulator(str(run.tensorboard))
    read.Reload()
    assert [event.step for event in read.Scalars("epoch/loss")] == [4, 8, 12, 16]
    assert [event.value for event in read.Scalars("epoch/loss")] == [0.75] * 4
    assert "train" in read.Tags()["images"]
