"""Heads on dense anchors: what they predict for every anchor, scores, boxes, detections."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nas.models.box_coder import BoxCoder
from nas.models.heads.base import Head, Settings
from nas.models.matcher import Matches, match
from nas.models.postprocess import best_detections


class RawOutputs(NamedTuple):
    """What a head predicts for every anchor.

    Attributes:
        logits: `(B, A, num_classes)`; column 0 is background.
        deltas: `(B, A, 4)`, a box relative to its anchor, by the head's `box_coder`.
    """

    logits: Tensor
    deltas: Tensor


class AnchorHead(Head[Settings]):
    """A head with anchors that are known beforehand, and so are its positives.

    Attributes:
        anchors: `(A, 4)` x1, y1, x2, y2 in pixels of the input; not part of the state.
        box_coder: of a box relative to its anchor.
        exclusive: whether classes and background share one softmax; else each class has its own
            sigmoid, and the background's column isn't used.
        claim: which of several objects gets an anchor that they all overlap most; see `match`.
    """

    raw_names = ("logits", "deltas")
    anchors: Tensor
    box_coder: ClassVar[BoxCoder]
    exclusive: ClassVar[bool]
    claim: ClassVar[Literal["first", "last"]] = "first"

    def __init__(
        self, settings: Settings, num_classes: int, image_size: int, anchors: Tensor
    ) -> None:
        super().__init__(settings, num_classes, image_size)
        self.register_buffer("anchors", anchors, persistent=False)

    def match(self, boxes: Tensor, labels: Tensor) -> Matches:
        """Finds which anchors are positive for which of a batch's objects.

        Args:
            boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input, padded.
            labels: `(B, M)`, 0 where padded.
        """
        threshold = self.settings.match_iou
        return match(self.anchors, boxes.to(self.anchors), labels, threshold, self.claim)

    @torch.no_grad()
    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Returns the number of positive anchors, found by matching alone."""
        return len(self.match(boxes, labels).images)

    def scores(self, logits: Tensor) -> Tensor:
        """Turns `(…, num_classes)` logits into probabilities; column 0 isn't for detections."""
        return logits.softmax(dim=-1) if self.exclusive else logits.sigmoid()

    @torch.no_grad()
    def postprocess(self, raw: RawOutputs) -> list[dict[str, Tensor]]:
        """Decodes the anchors that pass the threshold, and keeps the best by NMS per class."""
        scores, deltas = self.scores(raw.logits.float()), raw.deltas.float()
        return [
            best_detections(
                scores[i],
                partial(self._boxes_at, deltas[i]),
                self.image_size,
                self.settings.postprocess,
            )
            for i in range(len(scores))
        ]

    def export_tail(self) -> nn.Module | None:
        """Returns None: every format has operators for dense anchors."""
        return None

    def _boxes_at(self, deltas: Tensor, places: Tensor) -> Tensor:
        """Decodes the boxes of the anchors with some indices, `(n, 4)`."""
        return self.box_coder.decode(deltas[places], self.anchors[places].to(deltas))


def full(x: Tensor) -> Tensor:
    """Converts to single precision at least, for losses aren't taken of halves."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def by_anchor(x: Tensor, values: int) -> Tensor:
    """Reshapes `(B, A · values, S, S)` to `(B, S · S · A, values)`."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
