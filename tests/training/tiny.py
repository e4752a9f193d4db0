"""A tiny grid detector and in-memory batches, for tests of the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8


@dataclass
class TinyBatch:
    images: Tensor
    boxes: Tensor
    labels: Tensor


class TinyBatches:
    """Bright squares on noise, one an image; epoch n's order is a function of (seed, n)."""

    def __init__(
        self, images: int = 16, batch_size: int = 4, seed: int = 0, size: int = 32
    ) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.seed, self.batch_size = seed, batch_size
        self.pixels = torch.randint(0, 60, (images, 3, size, size), generator=draw).byte()
        self.boxes = torch.zeros(images, 2, 4)
        self.labels = torch.zeros(images, 2, dtype=torch.int64)
        for i in range(images):
            side = int(torch.randint(8, 14, (), generator=draw))
            x, y = torch.randint(0, size - side, (2,), generator=draw).tolist()
            label = int(torch.randint(1, 4, (), generator=draw))
            self.pixels[i, label - 1, y : y + side, x : x + side] = 255
            self.boxes[i, 0] = torch.tensor([x, y, x + side, y + side])
            self.labels[i, 0] = label

    def __len__(self) -> int:
        return len(self.pixels) // self.batch_size

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[TinyBatch]:
        draw = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        order = torch.randperm(len(self.pixels), generator=draw)
        for rows in order.split(self.batch_size)[start_step:]:
            yield TinyBatch(self.pixels[rows], self.boxes[rows], self.labels[rows])


class TinyDetector(nn.Module):
    """Each cell of a grid says what is centred there, and its box; drops out a little."""

    def __init__(self, num_classes: int = 4, width: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in [(3, width), (width, 2 * width), (2 * width, 2 * width)]:
            layers += [
                nn.Conv2d(into, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers, nn.Dropout2d(dropout))
        self.head = nn.Conv2d(2 * width, num_classes - 1 + 4, 1)

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns class logits (B, K-1, S/8, S/8) and boxes (B, 4, S/8, S/8) in strides."""
        maps = self.head(self.body(images.float() / 255))
        return maps[:, :-4], maps[:, -4:]

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]:
        logits, offsets = self.predict(images)
        image, row = labels.nonzero(as_tuple=True)
        box, label = boxes[image, row], labels[image, row] - 1
        x, y = ((box[:, :2] + box[:, 2:]) / 2 / STRIDE).long().T
        target = torch.zeros_like(logits)
        target[image, label, y, x] = 1
        centre = torch.stack([x, y, x, y], dim=1) + 0.5
        count = max(1, len(image))
        return {
            "classification": F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
            / count,
            "box_regression": F.l1_loss(offsets[image, :, y, x], box / STRIDE - centre),
        }

    def detect(self, images: Tensor) -> list[dict[str, Tensor]]:
        logits, offsets = self.predict(images)
        found = []
        for scores, offset in zip(logits.sigmoid(), offsets, strict=True):
            label, y, x = (scores > 0.3).nonzero(as_tuple=True)
            centre = torch.stack([x, y, x, y], dim=1) + 0.5
            found.append(
                {
                    "boxes": (offset[:, y, x].T + centre) * STRIDE,
                    "labels": label + 1,
                    "scores": scores[label, y, x],
                }
            )
        return found
