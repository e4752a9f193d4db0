"""SSDlite with MobileNetV3-Large at 320 px against torchvision's own class: training, inference.

    OMP_NUM_THREADS=1 python experiments/bench/ssdlite_step.py --out FILE.json

The same weights both times, one thread.  Training: batches of 8, as our loop runs a step and as
torchvision's reference loop does, through its class, with transform, matching and losses; SGD both
times.  Inference: one picture of 320 px from the class's input to boxes, labels and scores, with
post-processing, ours by `model.deployed()`.  Weights are as they are drawn, where nearly all
predictions pass the threshold, or the background's bias is raised so that none does: a trained
network is between the two.  See `timing` for how they are timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import pictures, rounds_of, told, write
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD

from nas.models import Detector, build
from nas.models.fast_cpu import accelerate
from nas.models.pretrained.loading import start_from
from nas.training.numerics import set_numerics
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from search_spaces import zoo

BATCH, SIZE, CLASSES, OBJECTS = 8, 320, 91, 5
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 4e-5}
RAISED = 8.0
"""Of the background's logits, so that no prediction passes the threshold."""


def theirs(raised: float = 0.0) -> SSD:
    """torchvision's class, the same weights each time."""
    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)
    with torch.no_grad():
        for predictor in model.head.classification_head.module_list:
            predictor[1].bias.view(-1, CLASSES)[:, 0] += raised
    return model


def ours(other: SSD) -> Detector:
    """Ours with the weights of torchvision's, in the memory format that we train in."""
    model = build(zoo.genome("ssdlite320-mobilenetv3-large"), CLASSES)
    with tempfile.TemporaryDirectory(prefix="ssdlite-") as folder:
        path = Path(folder) / "theirs.pth"
        torch.save(other.state_dict(), path)
        start_from(model, path)
    return model.to(memory_format=torch.channels_last)


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """uint8 pictures in channels-last memory, boxes and labels."""
    return pictures(BATCH, SIZE, CLASSES, OBJECTS, least=16)


def our_training() -> Callable[[], None]:
    """One step as the training loop makes it."""
    model = accelerate(ours(theirs())).train()
    recipe = resolve("short", {"optimizer": "sgd", **SGD})
    optimizer = make_optimizer(model, recipe)
    images, boxes, labels = batch()

    def step() -> None:
        loss = torch.stack(list(model.losses(images, boxes, labels).values())).sum()
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def their_training(channels_last: bool) -> Callable[[], None]:
    """One step through torchvision's class, as its reference loop makes it."""
    model = theirs().train()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    images, boxes, labels = batch()
    inputs = list((images.float() / 255).contiguous())
    targets = [{"boxes": b, "labels": c} for b, c in zip(boxes, labels, strict=True)]

    def step() -> None:
        losses: dict[str, Tensor] = model(inputs, targets)
        loss = torch.stack(list(losses.values())).sum()
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def detections(model: torch.nn.Module) -> Callable[[], object]:
    """One picture through a class of torchvision's interface, in evaluation."""
    model.eval()
    picture = (batch()[0][0].float() / 255).contiguous()

    @torch.inference_mode()
    def step() -> object:
        return model([picture])

    return step


def main() -> None:
    """Times, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of training, in a round")
    parser.add_argument("--pictures", type=int, default=30, help="of inference, in a round")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    set_numerics(1)
    base, report = "torchvision", {}
    report["training"] = rounds_of(
        {
            "ours": our_training(),
            base: their_training(channels_last=False),
            f"{base} channels-last": their_training(channels_last=True),
        },
        images=BATCH,
        repeats=given.steps,
        count=given.rounds,
    )
    for name, raised in (("inference, none passes", RAISED), ("inference, all pass", 0.0)):
        report[name] = rounds_of(
            {
                "ours": detections(ours(theirs(raised)).deployed()),
                base: detections(theirs(raised)),
                f"{base} channels-last": detections(
                    theirs(raised).to(memory_format=torch.channels_last)
                ),
            },
            images=1,
            repeats=given.pictures,
            count=given.rounds,
        )
    for name, found in report.items():
        print(f"{name}\n{told(found, base)}\n")
    write(given.out, report)


if __name__ == "__main__":
    main()
