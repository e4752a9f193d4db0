"""RetinaNet's head: two towers shared over levels, focal and Huber losses, NMS per class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.anchors import OctaveAnchors
from nas.genome.heads import RetinaNetHead
from nas.genome.network import BatchNorm
from nas.models.anchors import octave_anchors
from nas.models.layers import activation, batch_norm
from nas.models.losses import focal_sum, huber_sum
from nas.models.targets import decode, encode, match

PRIOR = 0.01
"""Probability that every class starts with: bias −log(99) = −4.595."""


class RawOutputs(NamedTuple):
    """What the head says of every anchor.

    Attributes:
        logits: ``(B, A, num_classes)``; column 0 is background and isn't used.
        code: ``(B, A, 4)`` ty, tx, th, tw.
    """

    logits: Tensor
    code: Tensor


class SeparableConv(nn.Conv2d):
    """A 1×1 convolution with bias, behind a depthwise 3×3 without one (SpineNet-Mobile's)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 1)
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, S, S)`` to ``(B, C', S, S)``."""
        return super().forward(self.depthwise(x))


class Tower(nn.Module):
    """Convolutions shared over levels, each followed by a batch norm of the level's own."""

    def __init__(
        self, channels: int, head: RetinaNetHead, levels: int, outputs: int, norm: BatchNorm
    ) -> None:
        super().__init__()
        widths = [channels] + [head.width] * head.depth
        # The authors keep a bias although batch norm follows; it counts as parameters.
        self.convs = nn.ModuleList(
            _conv(a, b, head.separable) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(batch_norm(head.width, norm) for _ in self.convs) for _ in range(levels)
        )
        self.act = activation(head.activation)
        self.predict = _conv(widths[-1], outputs, head.separable)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """``(B, C, S, S)`` of map ``level`` to ``(B, outputs, S, S)``."""
        norms = self.norms[level]
        assert isinstance(norms, nn.ModuleList)
        for conv, norm in zip(self.convs, norms, strict=True):
            x = self.act(norm(conv(x)))
        out: Tensor = self.predict(x)
        return out


class RetinaNet(nn.Module):
    """The head of RetinaNet as the SpineNet authors configure it."""

    anchors: Tensor

    def __init__(
        self,
        unit: Unit,
        head: RetinaNetHead,
        num_classes: int,
        norm: BatchNorm,
        image_size: int,
    ) -> None:
        super().__init__()
        octaves = [part for part in head.anchors if isinstance(part, OctaveAnchors)]
        if len(octaves) != len(head.anchors):
            raise GenomeError("head retinanet: no model for default_boxes; legal: octave")
        if len({part.count for part in octaves}) > 1:
            raise GenomeError("head retinanet: give every level the same number of anchors")
        self.settings, self.num_classes, self.image_size = head, num_classes, image_size
        channels, per_place, levels = unit.ins[0].channels, octaves[0].count, len(octaves)
        self.class_tower = Tower(channels, head, levels, per_place * num_classes, norm)
        self.box_tower = Tower(channels, head, levels, per_place * 4, norm)
        self.register_buffer("anchors", octave_anchors(octaves, unit.ins), persistent=False)

    @torch.no_grad()
    def initialize(self) -> None:
        """Towers from N(0, 0.01), predictors from N(0, 1e-5), class bias −log(99).

        The kernels of separable convolutions are Glorot's, uniform, as the authors leave them.
        """
        for tower in (self.class_tower, self.box_tower):
            for conv in (*tower.convs, tower.predict):
                assert isinstance(conv, nn.Conv2d) and conv.bias is not None
                nn.init.zeros_(conv.bias)
                if isinstance(conv, SeparableConv):
                    nn.init.xavier_uniform_(conv.depthwise.weight)
                    nn.init.xavier_uniform_(conv.weight)
                else:
                    nn.init.normal_(conv.weight, std=1e-5 if conv is tower.predict else 0.01)
        assert self.class_tower.predict.bias is not None
        nn.init.constant_(self.class_tower.predict.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, maps: Sequence[Tensor]) -> RawOutputs:
        """``maps`` finest first, each ``(B, C, S, S)``, to logits and box codes of all anchors."""
        logits, code = [], []
        for level, x in enumerate(maps):
            logits.append(_by_anchor(self.class_tower(x, level), self.num_classes))
            code.append(_by_anchor(self.box_tower(x, level), 4))
        return RawOutputs(torch.cat(logits, dim=1), torch.cat(code, dim=1))

    def loss_terms(self, raw: RawOutputs, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Both losses of a batch.

        Args:
            raw: what ``forward`` returned.
            boxes: ``(B, M, 4)`` x1, y1, x2, y2 in pixels of the input, padded.
            labels: ``(B, M)`` in 1…num_classes − 1, 0 where padded.

        Returns:
            ``classification``: focal loss over (positives + 1); ``box_regression``: Huber loss
            over 4 (positives + 1), times the box weight.
        """
        head, anchors = self.settings, self.anchors
        with torch.no_grad():
            found = match(anchors, boxes, labels, head.match_iou)
            images, places, objects = found
            wanted = encode(boxes[images, objects], anchors[places])
            classes = labels[images, objects]
            flat = (images * len(anchors) + places) * self.num_classes + classes
        count = len(images) + 1.0
        logits = raw.logits.float()
        focal = focal_sum(logits, flat, head.focal_alpha, head.focal_gamma)
        huber = huber_sum(raw.code[images, places].float(), wanted, head.huber_delta)
        return {
            "classification": focal / count,
            "box_regression": head.box_weight * huber / (4 * count),
        }

    @torch.no_grad()
    def decode(self, raw: RawOutputs) -> list[dict[str, Tensor]]:
        """Detections of each picture: ``boxes`` ``(n, 4)``, ``labels`` ``(n,)``, ``scores``.

        Sorted by score, boxes in pixels of the input and inside it.
        """
        scores = raw.logits.float().sigmoid()
        return [self._of_one(scores[i], raw.code[i].float()) for i in range(len(scores))]

    def _of_one(self, scores: Tensor, code: Tensor) -> dict[str, Tensor]:
        post = self.settings.postprocess
        places, classes = (scores[:, 1:] > post.score).nonzero(as_tuple=True)
        values, labels = scores[places, classes + 1], classes + 1
        if len(values) > post.candidates:
            keep = _best_per_class(values, labels, post.candidates)
            places, labels, values = places[keep], labels[keep], values[keep]
        boxes = decode(code[places], self.anchors[places])
        boxes = clip_boxes_to_image(boxes, (self.image_size, self.image_size))
        keep = batched_nms(boxes, values, labels, post.iou)[: post.detections]
        return {"boxes": boxes[keep], "labels": labels[keep], "scores": values[keep]}

    def for_inference(self) -> RetinaNet:
        """Itself: nothing of this head is for training alone."""
        return self


def _conv(in_channels: int, channels: int, separable: bool) -> nn.Conv2d:
    """A 3×3 convolution with bias, full or separable."""
    if separable:
        return SeparableConv(in_channels, channels)
    return nn.Conv2d(in_channels, channels, 3, padding=1)


def _by_anchor(x: Tensor, values: int) -> Tensor:
    """``(B, A · values, S, S)`` to ``(B, S · S · A, values)``."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)


def _best_per_class(scores: Tensor, labels: Tensor, most: int) -> Tensor:
    """Indices of the ``most`` best candidates of every class."""
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    sorted_labels = labels[order]
    counts = torch.bincount(sorted_labels)
    starts = counts.cumsum(0) - counts
    position = torch.arange(len(order), device=order.device) - starts[sorted_labels]
    return order[position < most]
