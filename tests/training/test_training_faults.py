"""Trainings by the command, in processes of their own, that are killed or run out of disk.

Each damage that a checkpoint can have is in `test_checkpoint.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from nas.data.scenes import write_scenes
from nas.errors import RunError
from nas.models.tensor_file import read_tensors
from tests.engine.onlooker import MARK, processes_of, ray_folders_of, until
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
    """Trainings of one tiny detector on built-in scenes, and what an undisturbed one comes to."""

    def __init__(self, home: Path, *settings: str) -> None:
        self.home, self.settings = home, settings
        write_scenes(home / "scenes", seed=1, images=30)
        self.finish(home / "whole")
        self.whole = weights(home / "whole")

    def start(self, run: Path) -> subprocess.Popen[str]:
        """Starts a training, or goes on with it."""
        given = [f"--data={self.home / 'scenes'}", f"--run={run}", *SETTINGS, *self.settings]
        return subprocess.Popen(
            [sys.executable, "-m", "nas", "train", *given],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"SPINENAS_CACHE": str(self.home / "cache"), MARK: str(run)},
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


IN_PARTS = [
    *("--set=recipe.schedule=cosine", "--set=recipe.ema=0.9", "--set=recipe.drop_path=0.2"),
    *("--set=recipe.epochs=30", "--set=recipe.micro_batch=3", "--set=recipe.jitter=[0.5,2.0]"),
    "--set=recipe.checkpoint_minutes=1e-9",  # after every update
]


def step_of(run: Path) -> int:
    """The update that a run's last checkpoint was written after."""
    with suppress(RunError):  # between two renames there is none
        return int(read_tensors(run / "checkpoints" / "last.safetensors")[1]["step"])
    return 0


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """At fifteen updates and before five others; the bits are those of no kill at all."""
    trainings, chance, run = Trainings(tmp_path, *IN_PARTS), random.Random(0), tmp_path / "run"
    targets = sorted(chance.sample(range(1, 50), 15) + [0] * 5)
    seen = []
    for target in targets:
        process = trainings.start(run)
        if target > step_of(run):
            until(lambda: step_of(run) >= target or process.poll() is not None)  # noqa: B023
            time.sleep(chance.uniform(0, 0.05))
        else:
            time.sleep(chance.uniform(0, 5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        seen.append(step_of(run))
    assert seen == sorted(seen) and len(set(seen)) > 3
    trainings.finish(run)
    assert weights(run) == trainings.whole


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("pandas") and find_spec("pyarrow")), reason="Ray Train needs the extra train"
)
def test_two_workers_go_on_after_their_driver_was_killed(tmp_path: Path) -> None:
    trainings, run = Trainings(tmp_path, *IN_PARTS, "--workers=2"), tmp_path / "run"
    process = trainings.start(run)
    until(lambda: step_of(run) >= 7 or process.poll() is not None)
    folders = ray_folders_of(run)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    until(lambda: not processes_of(run))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    assert step_of(run) < 90
    trainings.finish(run)
    assert weights(run) == trainings.whole
