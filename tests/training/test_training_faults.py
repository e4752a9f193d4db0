"""Trainings by the command, in processes of their own, that are killed or run out of disk.

Each damage that a checkpoint can have is in `test_checkpoint.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from nas.data.scenes import write_scenes
from tests.engine.onlooker import until
from tests.engine.small_disk import fill, small_disk

pytestmark = pytest.mark.faults

SETTINGS = [
    "--genome=spinenet-49s",
    "--set=scale.width=0.0625",
    "--set=scale.head_width=8",
    "--set=scale.input_size=128",
    "--set=recipe.epochs=4",
    "--set=recipe.batch_size=8",
]


class Trainings:
    """Trainings of one tiny detector on built-in scenes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        write_scenes(home / "scenes", seed=1, images=30)
        self.finish(home / "whole")
        self.whole = weights(home / "whole")

    def start(self, run: Path) -> subprocess.Popen[str]:
        """Starts a training, or goes on with it."""
        words = ["train", f"--data={self.home / 'scenes'}", f"--run={run}", *SETTINGS]
        return subprocess.Popen(
            [sys.executable, "-m", "nas", *words],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"SPINENAS_CACHE": str(self.home / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, run: Path) -> str:
        """Trains to the end; returns what was printed."""
        process = self.start(run)
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said
        return " ".join(said.split())


def weights(run: Path) -> dict[str, Any]:
    """The trained model's bits."""
    found = load_file(run / "model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in found.items()}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    return Trainings(tmp_path_factory.mktemp("trainings"))


def test_corrupt_checkpoint(tmp_path: Path, trainings: Trainings) -> None:
    run, process = tmp_path / "run", trainings.start(tmp_path / "run")
    last, previous = (run / "checkpoints" / f"{x}.safetensors" for x in ("last", "previous"))
    until(lambda: previous.exists() or process.poll() is not None)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    last.write_bytes(previous.read_bytes()[:5000])
    assert "going on from previous.safetensors" in trainings.finish(run)
    assert weights(run) == trainings.whole


def test_disk_full_for_a_training(tmp_path: Path, trainings: Trainings) -> None:
    with small_disk(tmp_path / "disk") as disk:
        run, process = disk / "run", trainings.start(disk / "run")
        last = run / "checkpoints" / "last.safetensors"
        until(lambda: last.exists() or process.poll() is not None)
        ballast = fill(disk)
        said = process.communicate(timeout=180)[0].splitlines()
        assert process.returncode == 2 and "No space left on device" in said[-1], said
        assert not any(line.startswith("Traceback") for line in said)
        ballast.unlink()
        trainings.finish(run)
        assert weights(run) == trainings.whole
