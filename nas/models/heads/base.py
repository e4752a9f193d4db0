"""What every head has, whatever it predicts with: raw outputs, scores, boxes, detections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from nas.genome.parts import HeadPart
from nas.models.detections import best_detections
from nas.models.targets import BoxCode, Matches

Settings = TypeVar("Settings", bound=HeadPart)


class RawOutputs(NamedTuple):
    """What the head says of every anchor.

    Attributes:
        logits: ``(B, A, num_classes)``; column 0 is background.
        code: ``(B, A, 4)``, a box relative to its anchor as the head's ``box_code`` has it.
    """

    logits: Tensor
    code: Tensor


class Head(nn.Module, ABC, Generic[Settings]):
    """From maps to raw outputs, from these to losses or detections.

    Attributes:
        settings: the genome's part.
        num_classes: background counts.
        image_size: side of the input in pixels.
        anchors: ``(A, 4)`` x1, y1, x2, y2 in pixels of the input; not part of the state.
        box_code: how a box is told relative to its anchor.
        exclusive: whether classes and background share one softmax; else each class has its own
            sigmoid, and the background's column isn't used.
    """

    anchors: Tensor
    box_code: BoxCode
    exclusive: bool

    def __init__(
        self, settings: Settings, num_classes: int, image_size: int, anchors: Tensor
    ) -> None:
        super().__init__()
        self.settings: Settings = settings
        self.num_classes, self.image_size = num_classes, image_size
        self.register_buffer("anchors", anchors, persistent=False)

    @abstractmethod
    def initialize(self, body: nn.Module) -> None:
        """Draws the first weights of the whole network: the body's, then its own."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> RawOutputs:
        """``maps`` finest first, each ``(B, C, S, S)``, to raw outputs of all anchors."""

    @abstractmethod
    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch: sums over its pictures, divided by a count of positives.

        Args:
            maps: what ``forward`` takes.
            boxes: ``(B, M, 4)`` x1, y1, x2, y2 in pixels of the input, padded.
            labels: ``(B, M)`` in 1…num_classes − 1, 0 where padded.
            positives: of the larger batch that this is a part of, so that the losses of all
                parts add up to its losses; None: of this batch.
        """

    @abstractmethod
    def match(self, boxes: Tensor, labels: Tensor) -> Matches:
        """Which anchors are positive for which of a batch's objects."""

    @abstractmethod
    def class_outputs(self) -> list[nn.Module]:
        """The convolutions whose width depends on the number of classes."""

    def scores(self, logits: Tensor) -> Tensor:
        """``(…, num_classes)`` logits to probabilities; column 0 isn't for detections."""
        return logits.softmax(dim=-1) if self.exclusive else logits.sigmoid()

    @torch.no_grad()
    def decode(self, raw: RawOutputs) -> list[dict[str, Tensor]]:
        """Detections of each picture: ``boxes`` ``(n, 4)``, ``labels`` ``(n,)``, ``scores``.

        Sorted by score, boxes in pixels of the input and inside it.
        """
        scores, code = self.scores(raw.logits.float()), raw.code.float()
        return [
            best_detections(
                scores[i],
                partial(self._boxes_at, code[i]),
                self.image_size,
                self.settings.postprocess,
            )
            for i in range(len(scores))
        ]

    def _boxes_at(self, code: Tensor, places: Tensor) -> Tensor:
        return self.box_code.decode(code[places], self.anchors[places].to(code))

    def for_inference(self) -> Self:
        """Without what only training needs: itself, where there is nothing of the kind."""
        return self


def full(x: Tensor) -> Tensor:
    """In single precision at least: losses aren't taken of halves."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def by_anchor(x: Tensor, values: int) -> Tensor:
    """``(B, A · values, S, S)`` to ``(B, S · S · A, values)``."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
