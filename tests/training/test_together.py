"""Workers that share a batch equal one that has it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from nas.data.scenes import write_scenes
from nas.training.distributed import Workers
from tests.training.parts import HEADS, assert_close, gradients, livened, recipe

REPOSITORY = Path(__file__).parents[2]


def own_environment(home: Path) -> dict[str, str]:
    """That of a process in which Ray is started anew."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return own | {"SPINENAS_CACHE": str(home / "cache")}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    write_scenes(folder / "scenes", seed=1, images=30)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("pandas") and find_spec("pyarrow")), reason="Ray Train needs the extra train"
)
@pytest.mark.parametrize("genome", ["spinenet-49", "ssdlite320-mobilenetv3-large"])
def test_two_workers_equal_one(home: Path, genome: str) -> None:
    """Through Ray Train, the published recipe with jitter and stochastic depth, float64."""
    words = ["-m", "tests.training.together", str(home / genome), genome, str(home / "scenes")]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=own_environment(home),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    differences = json.loads(done.stdout.splitlines()[-1])
    assert differences.keys() == {"together", "in parts"}
    for found in differences.values():
        assert found["gradients"] <= 1e-9 and found["weights"] <= 1e-7


def of_one(rank: int, count: int, file: str, head: str, device: str) -> dict[str, np.ndarray]:
    """What each of several processes does: its part of a batch, joined with the others'."""
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, f"file://{file}", rank=rank, world_size=count)
    if device == "cuda":
        torch.cuda.set_device(rank)
    try:
        model = livened(HEADS[head](), drop_path=0.3).to(device)
        if device == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        settings = recipe(freeze_bn=device == "cpu", micro_batch=2 if device == "cpu" else None)
        found, loss = gradients(model, settings, Workers(rank, count))
        return {name: tensor.cpu().numpy() for name, tensor in {**found, "": loss}.items()}
    finally:
        distributed.destroy_process_group()


def of_two(file: Path, head: str, device: str) -> list[dict[str, Tensor]]:
    """The gradients of a batch on either of two workers, and under "" its loss."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(of_one, rank, 2, str(file), head, device) for rank in range(2)]
        found = [answer.result(timeout=300) for answer in waiting]
    return [{name: torch.from_numpy(value) for name, value in one.items()} for one in found]


@pytest.mark.parametrize("head", HEADS)
def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path, head: str) -> None:
    """Three and four pictures, in parts of two at most, with stochastic depth."""
    expected, loss = gradients(livened(HEADS[head](), drop_path=0.3), recipe())
    for found in of_two(tmp_path / "meeting", head, "cpu"):
        assert found.pop("").item() == pytest.approx(loss.item(), rel=1e-9)
        assert_close(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs: torch's SyncBatchNorm")
@pytest.mark.parametrize("head", HEADS)
def test_batch_norms_of_two_gpus_see_the_whole_batch(tmp_path: Path, head: str) -> None:
    """Batch norms in training mode, float64."""
    model = livened(HEADS[head](), drop_path=0.3).to("cuda")
    expected, _ = gradients(model, recipe(freeze_bn=False))
    for found in of_two(tmp_path / "meeting", head, "cuda"):
        del found[""]
        assert_close(found, {name: tensor.cpu() for name, tensor in expected.items()})
