"""Which anchor learns which object: matching and the box code, for a whole batch at once."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

MAX_LOG_SCALE = math.log(1000 / 16)
"""Cap on predicted log scales, so that a wild prediction can't overflow (as torchvision's)."""


class Matches(NamedTuple):
    """The positive anchors of a batch; P of them in all.

    Attributes:
        images: ``(P,)`` index of the picture.
        anchors: ``(P,)`` index of the anchor.
        objects: ``(P,)`` index of the object within its picture's padded boxes.
    """

    images: Tensor
    anchors: Tensor
    objects: Tensor


def match(
    anchors: Tensor,
    boxes: Tensor,
    labels: Tensor,
    threshold: float,
    claim: Literal["first", "last"] = "first",
) -> Matches:
    """Matches anchors to objects.

    An anchor is positive for its best object at an IoU of at least ``threshold``; besides, each
    object takes the anchor that overlaps it most, however little.

    Args:
        anchors: ``(A, 4)`` x1, y1, x2, y2.
        boxes: ``(B, M, 4)``, padded.
        labels: ``(B, M)``, 0 where padded.
        threshold: of IoU.
        claim: which of several objects that want one anchor gets it.  ``last`` is torchvision's
            SSD, where an object that overlaps no anchor takes the first of all.
    """
    batch, most = labels.shape
    count = len(anchors)
    if most == 0:
        empty = labels.new_zeros(0)
        return Matches(empty, empty, empty)
    iou = box_iou(boxes.reshape(-1, 4), anchors).reshape(batch, most, count)
    iou = torch.where((labels > 0)[:, :, None], iou, -1.0)
    best_iou, best_object = iou.max(dim=1)  # (B, A)
    positive = best_iou >= threshold
    overlap, favourite = iou.max(dim=2)  # (B, M)
    wanting = overlap > 0 if claim == "first" else labels > 0
    rank = torch.arange(most, device=iou.device).expand(batch, most)
    # Among the claims of one anchor the smallest counts: the first object, or minus the last.
    sign = 1 if claim == "first" else -1
    rank = torch.where(wanting, sign * rank, most)
    chosen = torch.full_like(best_object, most).scatter_reduce(1, favourite, rank, "amin")
    best_object = torch.where(chosen < most, chosen.abs(), best_object)
    positive |= chosen < most
    images, places = positive.nonzero(as_tuple=True)
    return Matches(images, places, best_object[images, places])


class BoxCode(NamedTuple):
    """How a box is told relative to its anchor.

    The shift of the centre is in sides of the anchor, the scale is the logarithm of both sides'
    ratio.

    Attributes:
        columns: where tx, ty, tw and th stand; a permutation that is its own inverse.
        weights: what each column is multiplied with.
    """

    columns: tuple[int, int, int, int]
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Box code relative to anchors.

        Args:
            boxes, anchors: ``(P, 4)`` x1, y1, x2, y2 in pixels.

        Returns:
            ``(P, 4)``.
        """
        size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
        centre, anchor_centre = boxes[:, :2] + size / 2, anchors[:, :2] + anchor_size / 2
        shift = (centre - anchor_centre) / anchor_size
        scale = torch.log(size.clamp(min=1e-3) / anchor_size)
        code = torch.cat([shift, scale], dim=1)[:, list(self.columns)]
        return code * code.new_tensor(self.weights)

    def decode(self, code: Tensor, anchors: Tensor) -> Tensor:
        """Boxes of a code: the inverse of ``encode``.

        Args:
            code: ``(..., 4)``.
            anchors: ``(..., 4)`` x1, y1, x2, y2, broadcast against ``code``.

        Returns:
            ``(..., 4)`` x1, y1, x2, y2 in pixels.
        """
        anchor_size = anchors[..., 2:] - anchors[..., :2]
        anchor_centre = anchors[..., :2] + anchor_size / 2
        code = (code / code.new_tensor(self.weights))[..., list(self.columns)]
        centre = code[..., :2] * anchor_size + anchor_centre
        half = torch.exp(code[..., 2:].clamp(max=MAX_LOG_SCALE)) * anchor_size / 2
        return torch.cat([centre - half, centre + half], dim=-1)


RETINANET_CODE = BoxCode(columns=(1, 0, 3, 2))
"""ty, tx, th, tw, without variances."""
SSD_CODE = BoxCode(columns=(0, 1, 2, 3), weights=(10.0, 10.0, 5.0, 5.0))
"""tx, ty, tw, th over variances 0.1 and 0.2: torchvision, models/detection/ssd.py."""
