"""A batch of pictures, two detectors, and their gradients, however the batch is divided."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nas.data.batches import part_of
from nas.genome import Genome
from nas.models import Detector
from nas.models.heads.ssd import SSD
from nas.training.context import LoopContext
from nas.training.distributed import Process, Workers
from nas.training.freezing import freeze, set_training
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from nas.training.settings import RecipeSettings
from nas.training.state import TrainingState
from nas.training.step import train_step
from search_spaces import zoo
from tests.models import ssdlite
from tests.models.tiny import built, pictures, tiny
from tests.training.tiny import TinyBatch

IMAGES = 7
HEADS = {
    "retinanet": lambda: tiny(),
    "ssdlite": lambda: zoo.genome("ssdlite320-mobilenetv3-large").scaled(
        width=0.25, input_size=160
    ),
}


def recipe(**changes: Any) -> RecipeSettings:
    fixed = {"batch_size": IMAGES, "freeze_bn": True, "precision": "fp64", "threads": 1}
    fixed |= {"clip_norm": None}
    return resolve("spinenet_b", {**fixed, **changes})


def batch(genome: Genome) -> TinyBatch:
    """Pictures with 3, 2, 0, 1, 3, 0 and 3 boxes."""
    draw = torch.Generator().manual_seed(1)
    size = genome.input.size
    corner = torch.rand(IMAGES, 3, 2, generator=draw) * size / 2
    sides = size / 10 + torch.rand(IMAGES, 3, 2, generator=draw) * size / 3
    labels = torch.tensor([[1, 2, 3], [3, 1, 0], [0] * 3, [2, 0, 0], [1] * 3, [0] * 3, [2] * 3])
    boxes = torch.cat([corner, corner + sides], dim=2) * (labels > 0)[..., None]
    return TinyBatch(pictures(IMAGES, size), boxes, labels)


def livened(genome: Genome, **options: Any) -> Detector:
    """A float64 detector whose maps and scores differ from place to place.

    Else rounding would decide which of many equal negatives are the hardest.
    """
    model = built(genome, **options).double()
    torch.manual_seed(1)
    if isinstance(model.head, SSD):
        ssdlite.livened(model)
        return model
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


def gradients(
    model: Detector, settings: RecipeSettings, workers: Workers | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Of each weight for the whole batch, and the loss; on the model's device."""
    workers = workers or Workers()
    device = next(model.parameters()).device
    freeze(model, settings)
    state = TrainingState.start(model, make_optimizer(model, settings), settings, device)
    set_training(model, settings)
    torch.manual_seed(2)
    given = batch(model.genome)
    rows = part_of(IMAGES, workers.rank, workers.count)
    share = TinyBatch(given.images[rows], given.boxes[rows], given.labels[rows])
    found: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        found.update((n, w.grad) for n, w in model.named_parameters() if w.grad is not None)

    state.optimizer.register_step_pre_hook(note)
    context = LoopContext(OneBatch(), settings, Process(device, workers), seed=0)
    losses = train_step(state, share, context)
    assert losses.images == IMAGES
    return found, torch.stack(list(losses.terms.values())).sum()


class OneBatch:
    """An epoch of one batch."""

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start_step: int = 0) -> Any:
        raise NotImplementedError


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Each gradient to 1e-9 of its norm."""
    assert found.keys() == expected.keys() and len(found) > 100
    for name, wanted in expected.items():
        error = (found[name] - wanted).norm() / wanted.norm().clamp(min=1e-300)
        assert error <= 1e-9, name
