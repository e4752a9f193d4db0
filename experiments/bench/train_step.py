"""Images per second of one training step: this toolkit against torchvision's RetinaNet class.

    python experiments/bench/train_step.py --rounds 7 --out FILE.json

The same network both times (SpineNet-49 at a quarter of its width, 128 px, batch 16, one thread):
once as the training loop runs it, once as backbone and towers inside torchvision's `RetinaNet`,
with its transform, matching and per-image losses.  See ``turns`` for how they are timed.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from turns import rounds_of, told, write

from nas.genome.anchors import OctaveAnchors
from nas.models import Detector, build
from nas.training.numerics import autocast, set_numerics
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from search_spaces import zoo

BATCH, SIZE, CLASSES, OBJECTS = 16, 128, 32, 3


class Body(nn.Module):
    """A detector's maps as torchvision wants them."""

    def __init__(self, detector: Detector, width: int) -> None:
        super().__init__()
        self.detector, self.out_channels = detector, width

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """``(B, 3, S, S)`` to named maps."""
        maps = self.detector.features(images)
        return OrderedDict((str(i), x) for i, x in enumerate(maps))


class Towers(RetinaNetHead):
    """A detector's towers under torchvision's losses."""

    def __init__(self, detector: Detector, width: int, anchors: int) -> None:
        super().__init__(width, anchors, CLASSES)
        self.classification_head.conv = self.classification_head.cls_logits = nn.Identity()
        self.regression_head.conv = self.regression_head.bbox_reg = nn.Identity()
        self.detector = detector

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Maps to raw outputs, by torchvision's names."""
        raw = self.detector.head(x)
        return {"cls_logits": raw.logits, "bbox_regression": raw.code}


def torchvision_model(detector: Detector) -> RetinaNet:
    """The same network inside torchvision's class, with the same anchors."""
    head = detector.genome.head
    parts = [part for part in head.anchors if isinstance(part, OctaveAnchors)]
    sizes = tuple(
        tuple(part.size * 2**level * scale for scale in part.scales)
        for level, part in enumerate(parts, start=3)
    )
    ratios = (tuple(1 / ratio for ratio in parts[0].ratios),) * len(parts)
    width = head.width
    return RetinaNet(
        Body(detector, width),
        CLASSES,
        min_size=SIZE,
        max_size=SIZE,
        anchor_generator=AnchorGenerator(sizes, ratios),
        head=Towers(detector, width, parts[0].count),
    )


def fresh_detector() -> Detector:
    """SpineNet-49 at the proxy's scale, the same weights each time."""
    torch.manual_seed(0)
    small = zoo.genome("spinenet-49").scaled(width=0.25, alpha=0.25, head_width=64, input_size=SIZE)
    return build(small, CLASSES).train()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """uint8 pictures in channels-last memory, boxes and labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)
    corner = torch.rand(BATCH, OBJECTS, 2, generator=generator) * SIZE / 2
    side = 8 + torch.rand(BATCH, OBJECTS, 2, generator=generator) * SIZE / 3
    labels = torch.randint(1, CLASSES, (BATCH, OBJECTS), generator=generator)
    return pixels.permute(0, 3, 1, 2), torch.cat([corner, corner + side], dim=-1), labels


def ours(precision: str) -> Callable[[], None]:
    """One step as the training loop makes it."""
    model = fresh_detector().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, resolve("short", {}))
    images, boxes, labels = batch()

    def step() -> None:
        with autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
            loss = torch.stack(list(model.losses(images, boxes, labels).values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def theirs(precision: str, channels_last: bool) -> Callable[[], None]:
    """One step through torchvision's class, as its reference loop makes it."""
    model = torchvision_model(fresh_detector()).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.02)
    images, boxes, labels = batch()
    pictures = list((images.float() / 255).contiguous())
    targets = [{"boxes": b, "labels": c} for b, c in zip(boxes, labels, strict=True)]

    def step() -> None:
        with autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
            losses: dict[str, Tensor] = model(pictures, targets)
            loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def variants(names: list[str]) -> dict[str, Callable[[], None]]:
    """The steps to be timed."""
    known: dict[str, Callable[[], Callable[[], None]]] = {
        "ours fp32": lambda: ours("fp32"),
        "torchvision fp32": lambda: theirs("fp32", channels_last=False),
        "torchvision fp32 channels-last": lambda: theirs("fp32", channels_last=True),
        "ours bf16": lambda: ours("bf16"),
        "torchvision bf16 channels-last": lambda: theirs("bf16", channels_last=True),
    }
    return {name: make() for name, make in known.items() if name in names or not names}


def main() -> None:
    """Times, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    set_numerics(1)
    steps = variants(given.variants)
    found = rounds_of(steps, images=BATCH, repeats=given.steps, count=given.rounds)
    print(told(found, "torchvision fp32"))
    write(given.out, found)


if __name__ == "__main__":
    main()
