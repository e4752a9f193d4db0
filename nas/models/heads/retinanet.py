"""RetinaNet's head: two towers shared over levels, focal and Huber losses, NMS per class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import OctaveAnchors, RetinaNetHead
from nas.models.activations import activation
from nas.models.anchors import octave_anchors
from nas.models.box_coder import RETINANET_BOX_CODER
from nas.models.heads.anchor_head import AnchorHead, RawOutputs, by_anchor, full
from nas.models.layers import batch_norm, initialize
from nas.models.losses import focal_sum, huber_sum

PRIOR = 0.01
"""The probability that every class starts with: a bias of −log(99) = −4.595."""


class SeparableConv(nn.Conv2d):
    """A 1×1 convolution with bias, behind a depthwise 3×3 without one (SpineNet-Mobile's)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 1)
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolves `(B, C, S, S)` to `(B, C', S, S)`."""
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
        """Predicts `(B, outputs, S, S)` from map `level`, `(B, C, S, S)`."""
        norms = self.norms[level]
        assert isinstance(norms, nn.ModuleList)
        for conv, norm in zip(self.convs, norms, strict=True):
            x = self.act(norm(conv(x)))
        out: Tensor = self.predict(x)
        return out


class RetinaNet(AnchorHead[RetinaNetHead]):
    """The head of RetinaNet as the SpineNet authors configure it."""

    box_coder = RETINANET_BOX_CODER
    exclusive = False

    def __init__(
        self,
        head: RetinaNetHead,
        unit: Unit,
        num_classes: int,
        norm: BatchNorm,
        image_size: int,
    ) -> None:
        octaves = [part for part in head.anchors if isinstance(part, OctaveAnchors)]
        super().__init__(head, num_classes, image_size, octave_anchors(octaves, unit.ins))
        channels, per_place, levels = unit.ins[0].channels, octaves[0].count, len(octaves)
        self.class_tower = Tower(channels, head, levels, per_place * num_classes, norm)
        self.box_tower = Tower(channels, head, levels, per_place * 4, norm)

    @torch.no_grad()
    def initialize(self, body: nn.Module) -> None:
        """Draws the body by fan-in, towers from N(0, 0.01), predictors from N(0, 1e-5).

        The class bias is −log(99). Kernels of separable convolutions are Glorot's, uniform, as the
        authors leave them.
        """
        initialize(body)
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
        """Predicts logits and deltas of all anchors from maps `(B, C, S, S)`, finest first."""
        logits, deltas = [], []
        for level, x in enumerate(maps):
            logits.append(by_anchor(self.class_tower(x, level), self.num_classes))
            deltas.append(by_anchor(self.box_tower(x, level), 4))
        return RawOutputs(torch.cat(logits, dim=1), torch.cat(deltas, dim=1))

    def class_outputs(self) -> list[nn.Conv2d]:
        """Returns the last convolution of the class tower."""
        return [self.class_tower.predict]

    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """Computes both losses of a batch.

        Returns:
            `classification`: focal loss over (positives + 1); `box_regression`: Huber loss over
            4 (positives + 1), times the box weight.
        """
        raw = self(maps)
        head, anchors = self.settings, self.anchors
        with torch.no_grad():
            boxes = boxes.to(anchors)
            # Which anchors learn which object, and where their class stands in the flat logits.
            images, places, objects = self.match(boxes, labels)
            target = self.box_coder.encode(boxes[images, objects], anchors[places])
            classes = labels[images, objects]
            flat = (images * len(anchors) + places) * self.num_classes + classes
        count = (len(images) if positives is None else positives) + 1.0
        logits = full(raw.logits)
        focal = focal_sum(logits, flat, head.focal_alpha, head.focal_gamma)
        huber = huber_sum(full(raw.deltas[images, places]), target, head.huber_delta)
        return {
            "classification": focal / count,
            "box_regression": head.box_weight * huber / (4 * count),
        }


def _conv(in_channels: int, channels: int, separable: bool) -> nn.Conv2d:
    """Makes a 3×3 convolution with bias, full or separable."""
    if separable:
        return SeparableConv(in_channels, channels)
    return nn.Conv2d(in_channels, channels, 3, padding=1)
