"""A box relative to its anchor as four numbers, and back."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)
"""Cap on predicted log scales, so that a wild prediction can't overflow (as torchvision's)."""


class BoxCoder(NamedTuple):
    """A box relative to its anchor, as four deltas.

    The shift of the centre is in sides of the anchor, the scale is the logarithm of both sides'
    ratio.

    Attributes:
        columns: where tx, ty, tw and th stand in the deltas; a permutation that is its own inverse.
        weights: what each column is multiplied with.
    """

    columns: tuple[int, int, int, int]
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Computes the deltas of boxes relative to anchors.

        Args:
            boxes: `(P, 4)` x1, y1, x2, y2 in pixels.
            anchors: `(P, 4)`, as they.

        Returns:
            `(P, 4)`.
        """
        size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
        centre, anchor_centre = boxes[:, :2] + size / 2, anchors[:, :2] + anchor_size / 2
        shift = (centre - anchor_centre) / anchor_size
        scale = torch.log(size.clamp(min=1e-3) / anchor_size)
        deltas = torch.cat([shift, scale], dim=1)[:, list(self.columns)]
        return deltas * deltas.new_tensor(self.weights)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Computes boxes from deltas: the inverse of `encode`.

        Args:
            deltas: `(..., 4)`.
            anchors: `(..., 4)` x1, y1, x2, y2, broadcast against `deltas`.

        Returns:
            `(..., 4)` x1, y1, x2, y2 in pixels.
        """
        anchor_size = anchors[..., 2:] - anchors[..., :2]
        anchor_centre = anchors[..., :2] + anchor_size / 2
        deltas = (deltas / deltas.new_tensor(self.weights))[..., list(self.columns)]
        centre = deltas[..., :2] * anchor_size + anchor_centre
        half = torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE)) * anchor_size / 2
        return torch.cat([centre - half, centre + half], dim=-1)


RETINANET_BOX_CODER = BoxCoder(columns=(1, 0, 3, 2))
"""ty, tx, th, tw, without variances."""


SSD_BOX_CODER = BoxCoder(columns=(0, 1, 2, 3), weights=(10.0, 10.0, 5.0, 5.0))
"""tx, ty, tw, th over variances 0.1 and 0.2: torchvision, models/detection/ssd.py."""
