"""SSD's head: predictors of each map's own, softmax with mined negatives, NMS per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import DefaultBoxes, SSDHead
from nas.models.anchors import default_boxes
from nas.models.box_coder import SSD_BOX_CODER
from nas.models.heads.anchor_head import AnchorHead, RawOutputs, by_anchor, full
from nas.models.layers import ConvNorm
from nas.models.losses import hardest_negatives

FIRST_STD = 0.03
"""The deviation of first weights in a network with this head (torchvision's SSDlite)."""


class SSD(AnchorHead[SSDHead]):
    """SSD (full convolutions) or SSDlite (separable ones), equal to torchvision's class."""

    box_coder = SSD_BOX_CODER
    exclusive = True
    claim = "last"  # as torchvision

    def __init__(
        self, head: SSDHead, unit: Unit, num_classes: int, norm: BatchNorm, image_size: int
    ) -> None:
        parts = [part for part in head.anchors if isinstance(part, DefaultBoxes)]
        super().__init__(head, num_classes, image_size, default_boxes(parts, unit.ins, image_size))
        sizes = [(shape.channels, part.count) for shape, part in zip(unit.ins, parts, strict=True)]
        self.class_predictors = nn.ModuleList(
            _predictor(channels, count * num_classes, head, norm) for channels, count in sizes
        )
        self.box_predictors = nn.ModuleList(
            _predictor(channels, count * 4, head, norm) for channels, count in sizes
        )

    @torch.no_grad()
    def initialize(self, body: nn.Module) -> None:
        """Draws all convolutions of the network from N(0, 0.03); biases are 0."""
        for layer in (*body.modules(), *self.modules()):
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=FIRST_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> RawOutputs:
        """Predicts logits and deltas of all boxes from maps `(B, C, S, S)`, finest first."""
        logits, deltas = [], []
        for x, classes, box in zip(maps, self.class_predictors, self.box_predictors, strict=True):
            logits.append(by_anchor(classes(x), self.num_classes))
            deltas.append(by_anchor(box(x), 4))
        return RawOutputs(torch.cat(logits, dim=1), torch.cat(deltas, dim=1))

    def class_outputs(self) -> list[nn.Conv2d]:
        """Returns the last convolution of every map's class predictor."""
        layers = [list(predictor.modules())[-1] for predictor in self.class_predictors]
        return [layer for layer in layers if isinstance(layer, nn.Conv2d)]

    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """Computes both losses of a batch.

        Returns:
            `classification`: cross entropy of positives and mined negatives; `box_regression`:
            smooth L1 of positives. Both are sums over the number of positives in the batch, or
            over 1 without any. Negatives are mined image by image, so they don't depend on what
            the batch is a part of.
        """
        sample, logits, deltas = self.predictions_at(maps, boxes, labels)
        count = max(1, sample.positives if positives is None else positives)
        entropy = F.cross_entropy(full(logits), sample.classes, reduction="sum")
        smooth = F.smooth_l1_loss(full(deltas), sample.targets, reduction="sum")
        return {"classification": entropy / count, "box_regression": smooth / count}

    def predictions_at(
        self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor
    ) -> tuple[SSDSample, Tensor, Tensor]:
        """Chooses which predictions are learnt from.

        Returns:
            The sample, its logits `(R, num_classes)`, and its positives' deltas `(P, 4)`.
        """
        raw = self(maps)
        sample = self.sample(raw.logits.detach(), boxes, labels)
        logits = raw.logits[sample.images, sample.places]
        return sample, logits, raw.deltas[sample.positive_rows]

    @torch.no_grad()
    def sample(self, logits: Tensor, boxes: Tensor, labels: Tensor) -> SSDSample:
        """Matches positives, and mines the negatives that these logits get most wrong."""
        boxes = boxes.to(self.anchors)
        images, places, objects = self.match(boxes, labels)
        targets = self.box_coder.encode(boxes[images, objects], self.anchors[places])
        positive = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
        positive[images, places] = True
        # A negative's loss is −log p(background).
        background = -F.log_softmax(full(logits), dim=-1)[..., 0]
        negative_images, negatives = hardest_negatives(
            background, positive, self.settings.negatives
        )
        classes = torch.cat([labels[images, objects], torch.zeros_like(negatives)])
        rows = torch.cat([images, negative_images]), torch.cat([places, negatives])
        return SSDSample(*rows, classes, targets, len(images))


class SSDSample(NamedTuple):
    """The predictions of a batch that are learnt from: the positives, then mined negatives.

    Attributes:
        images, places: `(R,)` image and default box of each.
        classes: `(R,)`, 0 for negatives.
        targets: `(P, 4)` deltas of the positives.
        positives: P.
    """

    images: Tensor
    places: Tensor
    classes: Tensor
    targets: Tensor
    positives: int

    @property
    def positive_rows(self) -> tuple[Tensor, Tensor]:
        """Images and default boxes of the positives."""
        return self.images[: self.positives], self.places[: self.positives]


def _predictor(channels: int, outputs: int, head: SSDHead, norm: BatchNorm) -> nn.Module:
    """Makes what predicts `(B, outputs, S, S)` from `(B, channels, S, S)`."""
    if not head.separable:
        return nn.Conv2d(channels, outputs, head.kernel, padding=head.kernel // 2)
    depthwise = ConvNorm(channels, channels, head.kernel, norm, head.activation, groups=channels)
    return nn.Sequential(depthwise, nn.Conv2d(channels, outputs, 1))
