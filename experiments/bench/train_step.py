"""Images per second of one training step: this toolkit against torchvision's RetinaNet class.

    python experiments/bench/train_step.py --rounds 7 --out FILE.json
    python experiments/bench/train_step.py --case spinenet-49s-384 --rounds 5 --steps 1

The same network both times, one thread: once as the training loop runs it, once as backbone and
towers inside torchvision's `RetinaNet`, with its transform, matching and per-image losses.  By
default it is SpineNet-49 at a quarter of its width, 128 px, batch 16; the other case is
SpineNet-49S as published, at 384 px, batch 4.  See `timing` for how they are timed.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from timing import matrix_rate, pictures, rounds_of, told, write
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead

from nas.genome import Genome
from nas.genome.parts import OctaveAnchors
from nas.genome.parts import RetinaNetHead as HeadSettings
from nas.models import Detector, build
from nas.models.fast_cpu import accelerate
from nas.training.numerics import autocast, set_numerics
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from search_spaces import zoo

OBJECTS = 3
"""In each picture."""
SIDE = 2048
"""Of the matrices that tell what the processor is capable of in a precision."""


class Case(NamedTuple):
    """What is timed: a network and its batch; `classes` counts the background."""

    genome: Genome
    batch: int
    classes: int
    device: str = "cpu"


CASES: dict[str, Callable[[], Case]] = {
    "spinenet-49-quarter-128": lambda: Case(
        zoo.genome("spinenet-49").scaled(width=0.25, alpha=0.25, head_width=64, input_size=128),
        batch=16,
        classes=32,
    ),
    "spinenet-49s-384": lambda: Case(
        zoo.genome("spinenet-49s").scaled(input_size=384), batch=4, classes=91
    ),
}


class Body(nn.Module):
    """A detector's maps as torchvision wants them."""

    def __init__(self, detector: Detector, width: int) -> None:
        super().__init__()
        self.detector, self.out_channels = detector, width

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """`(B, 3, S, S)` to named maps."""
        maps = self.detector.features(images)
        return OrderedDict((str(i), x) for i, x in enumerate(maps))


class Towers(RetinaNetHead):
    """A detector's towers under torchvision's losses."""

    def __init__(self, detector: Detector, width: int, anchors: int) -> None:
        super().__init__(width, anchors, detector.num_classes)
        self.classification_head.conv = self.classification_head.cls_logits = nn.Identity()
        self.regression_head.conv = self.regression_head.bbox_reg = nn.Identity()
        self.detector = detector

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Maps to raw outputs, by torchvision's names."""
        raw = self.detector.head(x)
        return {"cls_logits": raw.logits, "bbox_regression": raw.deltas}


def same_anchors(head: HeadSettings) -> AnchorGenerator:
    """A head's anchors as torchvision makes them, levels from 3 on."""
    parts = [part for part in head.anchors if isinstance(part, OctaveAnchors)]
    sizes = tuple(
        tuple(part.size * 2**level * scale for scale in part.scales)
        for level, part in enumerate(parts, start=3)
    )
    ratios = (tuple(1 / ratio for ratio in parts[0].ratios),) * len(parts)
    return AnchorGenerator(sizes, ratios)


def torchvision_model(detector: Detector) -> RetinaNet:
    """The same network inside torchvision's class, with the same anchors."""
    head, size = detector.genome.head, detector.genome.input.size
    assert isinstance(head, HeadSettings)
    anchors = same_anchors(head)
    return RetinaNet(
        Body(detector, head.width),
        detector.num_classes,
        min_size=size,
        max_size=size,
        anchor_generator=anchors,
        head=Towers(detector, head.width, head.anchors[0].count),
    )


def fresh_detector(case: Case) -> Detector:
    """The case's network, the same weights each time."""
    torch.manual_seed(0)
    return build(case.genome, case.classes).train().to(case.device)


def batch(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 pictures in channels-last memory, boxes and labels, on the case's device."""
    found = pictures(case.batch, case.genome.input.size, case.classes, OBJECTS, least=8)
    images, boxes, labels = (tensor.to(case.device) for tensor in found)
    return images, boxes, labels


def ours(case: Case, precision: str) -> Callable[[], None]:
    """One step as the training loop makes it."""
    model = accelerate(fresh_detector(case)).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, resolve("short", {}))
    images, boxes, labels = batch(case)

    def step() -> None:
        with autocast(torch.device(case.device), precision):  # type: ignore[arg-type]
            loss = torch.stack(list(model.losses(images, boxes, labels).values())).sum()
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def theirs(case: Case, precision: str, *, channels_last: bool) -> Callable[[], None]:
    """One step of the same network through torchvision's class."""
    model = torchvision_model(fresh_detector(case)).train()
    return reference_step(model, case, precision, channels_last=channels_last)


def reference_step(
    model: nn.Module, case: Case, precision: str, *, channels_last: bool
) -> Callable[[], None]:
    """One step of a detector of torchvision's, as its reference loop makes it."""
    if channels_last:
        model.to(memory_format=torch.channels_last)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.02)
    images, boxes, labels = batch(case)
    inputs = list((images.float() / 255).contiguous())
    targets = [{"boxes": b, "labels": c} for b, c in zip(boxes, labels, strict=True)]

    def step() -> None:
        with autocast(torch.device(case.device), precision):  # type: ignore[arg-type]
            losses: dict[str, Tensor] = model(inputs, targets)
            loss = torch.stack(list(losses.values())).sum()
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def variants(case: Case, names: list[str]) -> dict[str, Callable[[], None]]:
    """The steps to be timed."""
    known: dict[str, Callable[[], Callable[[], None]]] = {
        "ours fp32": lambda: ours(case, "fp32"),
        "torchvision fp32": lambda: theirs(case, "fp32", channels_last=False),
        "torchvision fp32 channels-last": lambda: theirs(case, "fp32", channels_last=True),
        "ours bf16": lambda: ours(case, "bf16"),
        "torchvision bf16": lambda: theirs(case, "bf16", channels_last=False),
        "torchvision bf16 channels-last": lambda: theirs(case, "bf16", channels_last=True),
    }
    return {name: make() for name, make in known.items() if name in names or not names}


def main() -> None:
    """Times, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, default=next(iter(CASES)))
    parser.add_argument("--batch", type=int, help="instead of the case's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    set_numerics(1)
    case = CASES[given.case]()
    case = case._replace(batch=given.batch or case.batch)
    steps = variants(case, given.variants)
    found = rounds_of(steps, images=case.batch, repeats=given.steps, count=given.rounds)
    for base in ("torchvision fp32", "torchvision bf16"):
        if base in steps:
            print(told(found, base), end="\n\n")
    peaks = {precision: matrix_rate(precision, SIDE) for precision in ("fp32", "bf16")}
    for precision, peak in peaks.items():
        print(f"products of matrices in {precision}: {peak / 1e9:.0f} G operations a second")
    rates = {"operations_per_second": peaks, **found}
    write(given.out, {"case": given.case, "batch": case.batch, **rates})


if __name__ == "__main__":
    main()
