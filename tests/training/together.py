"""A process that trains alone and together, for `test_together.py`; it prints how much differs.

Ray keeps the settings that it finds when it is imported, and so has a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nas.config.loading import load_train
from nas.config.overrides import Override
from nas.config.schema import TrainConfig
from nas.data.coco import load_split
from nas.executors.launch_training import train_together
from nas.jobs import final_training as job
from nas.models.pretrained.initial import InitialWeights
from nas.runs.folder import Run
from nas.training.weights import TrainedModel
from tests.training.parts import livened

SETTINGS = {
    "recipe": "spinenet_c",
    "recipe.epochs": 1,
    "recipe.batch_size": 8,
    "recipe.lr_batch": 8,
    "recipe.lr": 0.02,
    "recipe.warmup_steps": 1,
    "recipe.decay_before_end": [],
    "recipe.precision": "fp64",
    "recipe.freeze_bn": True,
    "recipe.threads": 1,
    "compute.gpus_per_worker": 0,
}
GENOMES: dict[str, dict[str, Any]] = {
    "spinenet-49": {"scale.width": 0.125, "scale.head_width": 16, "scale.input_size": 128},
    "ssdlite320-mobilenetv3-large": {"scale.width": 0.5, "scale.input_size": 160},
}


def main(home: Path, genome: str, data: str) -> None:
    """Trains three steps alone, with two workers, and with two workers in micro-batches."""
    home.mkdir(parents=True)
    config = _config({"genome": genome, **GENOMES[genome]}, Path(data))
    categories = load_split(Path(data), "train").categories
    first = livened(job.trained_genome(config), num_classes=1 + len(categories))
    TrainedModel(first, categories).save(home / "first.safetensors")
    config = config.model_copy(update={"init": str(home / "first.safetensors")})
    alone = _trained(config, home / "alone", None)
    together = _trained(config, home / "together", 2)
    parts = config.model_copy(
        update={"recipe": config.recipe.model_copy(update={"micro_batch": 3})}
    )
    in_parts = _trained(parts, home / "parts", 2)
    differences = {
        name: {"gradients": _largest(alone[0], found[0]), "weights": _largest(alone[1], found[1])}
        for name, found in {"together": together, "in parts": in_parts}.items()
    }
    print(json.dumps(differences))


def _config(settings: dict[str, Any], data: Path) -> TrainConfig:
    changes = {**SETTINGS, **settings, "data_dir": str(data)}
    return load_train(None, [Override("--set", key, value) for key, value in changes.items()])


def _trained(
    config: TrainConfig, folder: Path, workers: int | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradient at the first step, and the weights after the last."""
    folder.mkdir()
    start = InitialWeights.of_file("first", Path(config.init))
    work = partial(captured, partial(job._work, config, Run(folder), start), folder / "first")
    if workers is None:
        work(0, 1, torch.device("cpu"), print_nothing)
    else:
        compute = config.compute.model_copy(update={"workers": workers})
        told: list[Any] = []
        train_together(work, compute, told.append, gpus=0, threads=1)
        assert [message[0] for message in told[:-1]] == [0, 1, 2] and told[-1].images == 24
    last = load_file(folder / "checkpoints" / "last.safetensors")
    weights = {n: t for n, t in last.items() if n.startswith("model.") and t.is_floating_point()}
    return load_file(folder / "first"), weights


def captured(work: Callable[..., None], file: Path, rank: int, *given: Any) -> None:
    """Does the work, and writes the gradients of the first worker's first step."""

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if rank == 0 and not file.exists():
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            found = {str(i): w.grad.contiguous() for i, w in enumerate(weights)}
            save_file(found, file)

    handle = register_optimizer_step_pre_hook(note)
    try:
        work(rank, *given)
    finally:
        handle.remove()


def print_nothing(message: Any) -> None:
    """Takes what a worker tells."""


def _largest(expected: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    """The largest difference of a tensor, as a share of its norm."""
    assert expected.keys() == found.keys()
    return max(
        ((found[name] - wanted).norm() / wanted.norm().clamp(min=1e-12)).item()
        for name, wanted in expected.items()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
