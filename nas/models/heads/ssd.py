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
from nas.models.heads.base import Head, RawOutputs, by_anchor, full
from nas.models.layers import ConvNorm
from nas.models.losses import hardest_negatives
from nas.models.targets import SSD_CODE, Matches, match

FIRST_STD = 0.03
"""Of all convolutions' first weights in a network with this head: torchvision's SSDlite."""


class SSD(Head[SSDHead]):
    """SSD (full convolutions) or SSDlite (separable ones), equal to torchvision's class."""

    box_code = SSD_CODE
    exclusive = True

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
        """All convolutions of the network from N(0, 0.03), biases 0."""
        for layer in (*body.modules(), *self.modules()):
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=FIRST_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> RawOutputs:
        """``maps`` finest first, each ``(B, C, S, S)``, to logits and box codes of all boxes."""
        logits, code = [], []
        for x, classes, box in zip(maps, self.class_predictors, self.box_predictors, strict=True):
            logits.append(by_anchor(classes(x), self.num_classes))
            code.append(by_anchor(box(x), 4))
        return RawOutputs(torch.cat(logits, dim=1), torch.cat(code, dim=1))

    def class_outputs(self) -> list[nn.Module]:
        """The last convolution of every map's class predictor."""
        predictors = self.class_predictors
        return [p[-1] if isinstance(p, nn.Sequential) else p for p in predictors]

    def match(self, boxes: Tensor, labels: Tensor) -> Matches:
        """See the base."""
        return match(
            self.anchors, boxes.to(self.anchors), labels, self.settings.match_iou, claim="last"
        )

    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """Both losses of a batch.

        Returns:
            ``classification``: cross entropy of positives and mined negatives;
            ``box_regression``: smooth L1 of positives.  Both are sums over the number of
            positives in the batch, or over 1 without any.  Negatives are mined picture by
            picture, so they don't depend on what the batch is a part of.
        """
        sample, logits, codes = self.predictions_at(maps, boxes, labels)
        return _terms(logits, codes, sample, positives)

    def predictions_at(
        self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor
    ) -> tuple[SSDSample, Tensor, Tensor]:
        """Chooses what is learnt from.

        Returns:
            The sample, its logits ``(R, num_classes)``, and its positives' codes ``(P, 4)``.
        """
        logits, codes = self(maps)
        sample = self.sample(logits.detach(), boxes, labels)
        return sample, logits[sample.images, sample.places], codes[sample.positive_rows]

    @torch.no_grad()
    def sample(self, logits: Tensor, boxes: Tensor, labels: Tensor) -> SSDSample:
        """Matches positives, and mines the negatives that these logits get most wrong."""
        boxes = boxes.to(self.anchors)
        images, places, objects = self.match(boxes, labels)
        wanted = self.box_code.encode(boxes[images, objects], self.anchors[places])
        positive = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
        positive[images, places] = True
        background = -F.log_softmax(full(logits), dim=-1)[..., 0]
        pictures, negatives = hardest_negatives(background, positive, self.settings.negatives)
        classes = torch.cat([labels[images, objects], torch.zeros_like(negatives)])
        rows = torch.cat([images, pictures]), torch.cat([places, negatives])
        return SSDSample(*rows, classes, wanted, len(images))


class SSDSample(NamedTuple):
    """The predictions of a batch that are learnt from: the positives, then mined negatives.

    Attributes:
        images, places: ``(R,)`` picture and default box of each.
        classes: ``(R,)``, 0 for negatives.
        wanted: ``(P, 4)`` box code of the positives.
        positives: P.
    """

    images: Tensor
    places: Tensor
    classes: Tensor
    wanted: Tensor
    positives: int

    @property
    def positive_rows(self) -> tuple[Tensor, Tensor]:
        """Pictures and default boxes of the positives."""
        return self.images[: self.positives], self.places[: self.positives]


def _terms(
    logits: Tensor, code: Tensor, sample: SSDSample, positives: int | None
) -> dict[str, Tensor]:
    count = max(1, sample.positives if positives is None else positives)
    entropy = F.cross_entropy(full(logits), sample.classes, reduction="sum")
    smooth = F.smooth_l1_loss(full(code), sample.wanted, reduction="sum")
    return {"classification": entropy / count, "box_regression": smooth / count}


def _predictor(channels: int, outputs: int, head: SSDHead, norm: BatchNorm) -> nn.Module:
    """``(B, channels, S, S)`` to ``(B, outputs, S, S)``."""
    if not head.separable:
        return nn.Conv2d(channels, outputs, head.kernel, padding=head.kernel // 2)
    depthwise = ConvNorm(channels, channels, head.kernel, norm, head.activation, groups=channels)
    return nn.Sequential(depthwise, nn.Conv2d(channels, outputs, 1))
