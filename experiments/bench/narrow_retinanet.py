"""torchvision's RetinaNet class with a narrow ResNet-18-FPN, and a loop like its references'."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from train_step import same_anchors

from nas.genome import Genome
from nas.genome.parts import RetinaNetHead as HeadSettings
from nas.models import build
from nas.training.context import Batches
from nas.training.numerics import autocast
from nas.training.optimizer import make_optimizer
from nas.training.schedule import learning_rate
from nas.training.settings import RecipeSettings
from nas.training.step import NotFinite


class NarrowResNet18(ResNet):
    """torchvision's ResNet-18 whose stages have `first`, 2, 4 and 8 times `first` channels."""

    def __init__(self, first: int) -> None:
        self.first = first
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def _make_layer(self, block: Any, planes: int, *others: Any, **options: Any) -> nn.Sequential:
        if planes == 64:  # the first stage, behind the stem
            self.inplanes = self.first
        stage: nn.Sequential = super()._make_layer(
            block, planes // 64 * self.first, *others, **options
        )
        return stage


class Theirs(nn.Module):
    """torchvision's class with the interface that the judge asks for.

    Args:
        first: channels of the ResNet's first stage.
        classes: background counts.
        other: the detector that it is compared with, whose input, anchors, width of the head and
            post-processing it takes.
    """

    def __init__(self, first: int, classes: int, other: Genome) -> None:
        super().__init__()
        head, size = other.head, other.input.size
        assert isinstance(head, HeadSettings)
        width = head.width
        last = LastLevelP6P7(8 * first, width)
        stages = {"layer2": "0", "layer3": "1", "layer4": "2"}
        widths = [2 * first, 4 * first, 8 * first]
        backbone = BackboneWithFPN(NarrowResNet18(first), stages, widths, width, last)
        anchors = same_anchors(head)
        groups = partial(nn.GroupNorm, width // 8)
        towers = RetinaNetHead(width, anchors.num_anchors_per_location()[0], classes, groups)
        towers.regression_head._loss_type = "giou"
        after = head.postprocess
        self.inner = RetinaNet(
            backbone,
            classes,
            min_size=size,
            max_size=size,
            anchor_generator=anchors,
            head=towers,
            score_thresh=after.score,
            nms_thresh=after.iou,
            detections_per_img=after.detections,
            topk_candidates=after.candidates,
        )

    def detect(self, images: Tensor) -> list[dict[str, Tensor]]:
        """uint8 `(B, 3, S, S)` to detections, boxes in pixels of the input."""
        found: list[dict[str, Tensor]] = self.inner(list(images.float() / 255))
        return found


def macs(model: nn.Module, size: int) -> float:
    """Multiply-adds of one picture, as torch counts them."""
    counter = FlopCounterMode(display=False)
    was_training = model.training
    model.eval()
    with torch.no_grad(), counter:
        model.detect(torch.zeros(1, 3, size, size, dtype=torch.uint8))  # type: ignore[operator]
    model.train(was_training)
    return counter.get_total_flops() / 2


def first_width(classes: int, other: Genome) -> int:
    """The ResNet's width that comes nearest to another detector's multiply-adds."""
    size, widths = other.input.size, range(4, 65)
    wanted = macs(build(other, classes), size)

    def beyond(first: int) -> float:
        return macs(Theirs(first, classes, other), size) - wanted

    above = bisect.bisect_left(widths, 0.0, key=beyond)
    return min(widths[max(0, above - 1) : above + 1], key=lambda first: abs(beyond(first)))


def reference_epochs(model: Theirs, batches: Batches, recipe: RecipeSettings) -> Iterator[float]:
    """Trains as torchvision's references do, and yields the seconds of each epoch."""
    optimizer, step = make_optimizer(model, recipe), 0
    for number in range(recipe.epochs):
        started = time.perf_counter()
        model.train()
        for batch in batches.epoch(number):
            images = list(batch.images.float().div(255).contiguous())
            targets = [
                {"boxes": boxes[labels > 0], "labels": labels[labels > 0]}
                for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
            ]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, len(batches))
            with autocast(torch.device("cpu"), recipe.precision):
                terms: dict[str, Tensor] = model.inner(images, targets)
                loss = torch.stack(list(terms.values())).sum()
            if not math.isfinite(loss.item()):
                raise NotFinite(f"the loss of step {step} is not finite")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        yield time.perf_counter() - started
