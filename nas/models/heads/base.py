"""The contract of heads: from maps to raw outputs, and from these to losses or detections.

A head is of one of two kinds, by what the sums of its losses are divided by:

- `Head`: by what the ground truth alone decides, such as the positives of a matching. It is counted
  before the forward pass, over the whole batch, and told to `losses`.
- `DynamicHead`: by what its own predictions decide, too: dynamic assignment, sampled regions,
  refined anchors. It gives undivided sums and their divisors; training divides.

Either way a batch that is computed in parts has the gradient of the whole batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from torch import Tensor, nn

from nas.genome.parts import HeadPart
from nas.models.losses import LossSums

Settings = TypeVar("Settings", bound=HeadPart)


class Head(nn.Module, ABC, Generic[Settings]):
    """A head whose divisor is known without its predictions.

    Attributes:
        settings: the genome's part.
        num_classes: background counts.
        image_size: side of the input in pixels.
        raw_names: what the raw outputs are called, in their order; an exported file has them too.
    """

    raw_names: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:  # a head's own modules are its class's; nn.Module would promise tensors

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, settings: Settings, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.settings: Settings = settings
        self.num_classes, self.image_size = num_classes, image_size

    @abstractmethod
    def initialize(self, body: nn.Module) -> None:
        """Draws the first weights of the whole network: the body's, then its own."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Computes the raw outputs.

        Args:
            maps: finest first, each `(B, C, S, S)`. In evaluation those for training alone are
                absent.

        Returns:
            A tensor for each of `raw_names`, the first dimension B.
        """

    @abstractmethod
    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """Computes the losses of a batch: sums over its images, divided by a count.

        Args:
            maps: what `forward` takes, in training.
            boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input, padded.
            labels: `(B, M)` in 1…num_classes − 1, 0 where padded.
            positives: of the global batch that this is a part of, so that the losses of all
                parts add up to its losses; None: of this batch.
        """

    @abstractmethod
    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Returns the number that `losses` divides by, of boxes and labels as it takes them."""

    @abstractmethod
    def postprocess(self, raw: Any) -> list[dict[str, Tensor]]:
        """Turns raw outputs into detections.

        Args:
            raw: what `forward` gives in evaluation.

        Returns:
            Of each image `boxes` `(n, 4)` in pixels of the input and inside it, `labels` `(n,)`
            from 1, `scores` `(n,)`; best first.
        """

    @abstractmethod
    def class_outputs(self) -> list[nn.Conv2d]:
        """Returns the convolutions whose width depends on the number of classes."""

    @abstractmethod
    def export_tail(self) -> nn.Module | None:
        """Returns the way from raw outputs to detections, as a module that an export can trace.

        Called with the raw outputs of one image, each `(1, …)`, it gives what `postprocess` finds:
        boxes `(n, 4)`, scores `(n,)` and labels `(n,)`, best first. `AnchorHead` returns None: a
        format has operators of its own for dense anchors.
        """

    def deployed(self) -> Self:
        """Returns it without what only training needs: itself, where there is nothing of it."""
        return self


class DynamicHead(Head[Settings]):
    """A head whose divisors depend on its predictions."""

    @abstractmethod
    def loss_sums(self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> LossSums:
        """Computes the losses of a batch undivided, and what divides them.

        Nothing in it may depend on which other images the batch has. What is drawn at random is
        drawn by `DrawsByImage.draw`, so that an image has the same numbers in every batch.

        Args:
            maps: what `forward` takes, in training.
            boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input, padded.
            labels: `(B, M)` in 1…num_classes − 1, 0 where padded.
        """

    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        """Computes the losses of a batch that is a whole; `positives` isn't read."""
        return self.loss_sums(maps, boxes, labels).divided().sums

    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Returns 0: nothing can be counted beforehand."""
        return 0
