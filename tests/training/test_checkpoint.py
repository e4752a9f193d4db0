from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas.errors import RunError
from nas.models import tensor_file
from nas.models.tensor_file import read_tensors, write_tensors
from nas.training import checkpoint
from nas.training.checkpoint import Checkpoints
from nas.training.loop import train
from nas.training.recipes import resolve
from tests.training.tiny import TinyBatches, TinyDetector

IDENTITY: dict[str, Any] = {"genome": "g1", "data": "d1", "recipe": {"lr": 0.1, "epochs": 4}}
RECIPE = resolve("short", {"epochs": 4, "batch_size": 8, "threads": 1})


def advance(
    folder: Path, epochs: int, identity: dict[str, Any] | None = None, **options: Any
) -> int:
    """Trains for some epochs in `folder`; returns the number of the last."""
    kept = Checkpoints(folder, identity or IDENTITY)
    run = train(
        TinyDetector(**options), TinyBatches(batch_size=8), RECIPE, seed=0, checkpoints=kept
    )
    return [next(run).number for _ in range(epochs)][-1]


def test_two_files_are_kept_and_no_temporary_one(tmp_path: Path) -> None:
    advance(tmp_path / "run", 3)
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == ["last.safetensors", "previous.safetensors"]
    assert read_tensors(tmp_path / "run" / "last.safetensors")[1]["epoch"] == 3
    assert read_tensors(tmp_path / "run" / "previous.safetensors")[1]["epoch"] == 2


def test_other_tools_can_read_the_weights(tmp_path: Path) -> None:
    advance(tmp_path, 1)
    tensors = load_file(tmp_path / "last.safetensors")
    weights = TinyDetector().state_dict()
    assert {name: tuple(tensors[f"model.{name}"].shape) for name in weights} == {
        name: tuple(tensor.shape) for name, tensor in weights.items()
    }
    assert "optimizer.exp_avg.head.weight" in tensors


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (
            {**IDENTITY, "genome": "g2"},
            'the architecture was "g1" when .* and is now "g2"; restore',
        ),
        ({**IDENTITY, "data": "d2"}, 'data was "d1" when this training began'),
        ({**IDENTITY, "recipe": {"lr": 0.2, "epochs": 4}}, "recipe.lr was 0.1 when .* now 0.2"),
        ({"data": "d1", "recipe": IDENTITY["recipe"]}, 'the architecture was "g1"'),
    ],
)
def test_another_runs_checkpoint_is_refused(
    tmp_path: Path, identity: dict[str, Any], message: str
) -> None:
    advance(tmp_path, 1)
    with pytest.raises(RunError, match=message) as error:
        advance(tmp_path, 1, identity)
    assert "last.safetensors" in str(error.value) and "\n" not in str(error.value)


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    advance(tmp_path, 1)
    with pytest.raises(RunError, match=r"model\.body\.0\.weight has shape \(8, 3, 3, 3\)"):
        advance(tmp_path, 1, width=12)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_VERSION", checkpoint.CHECKPOINT_VERSION + 1)
    with pytest.raises(RunError, match="checkpoint version 2 is not 3"):
        advance(tmp_path, 1)


@pytest.mark.parametrize("keep", [0, 7, 500])
def test_a_damaged_last_file_falls_back_to_the_one_before(tmp_path: Path, keep: int) -> None:
    advance(tmp_path, 2)
    last = tmp_path / "last.safetensors"
    last.write_bytes(last.read_bytes()[:keep])
    assert advance(tmp_path, 1) == 2  # goes on after epoch 1


def test_a_crash_between_the_two_renames_loses_one_epoch(tmp_path: Path) -> None:
    advance(tmp_path, 2)
    (tmp_path / "last.safetensors").unlink()
    assert advance(tmp_path, 1) == 2


def test_a_disk_that_is_full_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "save_file", full)
        with pytest.raises(RunError, match=r"No space left on device.*make room"):
            advance(tmp_path, 1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert advance(tmp_path, 1) == 3


def test_two_trainings_in_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "HOLD_SECONDS", 0.3)
    first = Checkpoints(tmp_path, IDENTITY)
    first.hold()
    first.hold()
    with pytest.raises(RunError, match="another process trains here"):
        advance(tmp_path, 1)
    del first
    assert advance(tmp_path, 1) == 1


def test_a_half_written_file_is_never_read(tmp_path: Path) -> None:
    """As a process leaves it that was killed while it wrote."""
    advance(tmp_path, 2)
    (tmp_path / "new.safetensors").write_bytes((tmp_path / "last.safetensors").read_bytes()[:99])
    assert advance(tmp_path, 1) == 3


def test_when_nothing_can_be_read_it_is_said(tmp_path: Path) -> None:
    advance(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"{}")
    with pytest.raises(RunError, match="can't be read as a checkpoint"):
        advance(tmp_path, 1)


def test_foreign_safetensors_and_pickles_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.pt")
    with pytest.raises(RunError, match="can't be read"):
        read_tensors(tmp_path / "pickle.pt")
    write_tensors(tmp_path / "ours.safetensors", {"a": torch.arange(6).view(2, 3).T}, {"x": 1})
    tensors, header = read_tensors(tmp_path / "ours.safetensors")
    assert torch.equal(tensors["a"], torch.arange(6).view(2, 3).T) and header == {"x": 1}
