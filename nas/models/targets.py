"""Which anchor learns which object: matching and the box code, for a whole batch at once."""

from __future__ import annotations

import math
from typing import NamedTuple

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


def match(anchors: Tensor, boxes: Tensor, labels: Tensor, threshold: float) -> Matches:
    """Matches anchors to objects.

    An anchor is positive for its best object at an IoU of at least ``threshold``; besides, each
    object takes the anchor that overlaps it most, however little (of two objects that want one
    anchor, the first).

    Args:
        anchors: ``(A, 4)`` x1, y1, x2, y2.
        boxes: ``(B, M, 4)``, padded.
        labels: ``(B, M)``, 0 where padded.
        threshold: of IoU.
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
    claim = torch.arange(most, device=iou.device).expand(batch, most)
    claim = torch.where(overlap > 0, claim, most)
    first = torch.full_like(best_object, most).scatter_reduce(1, favourite, claim, "amin")
    best_object = torch.where(first < most, first, best_object)
    positive |= first < most
    images, places = positive.nonzero(as_tuple=True)
    return Matches(images, places, best_object[images, places])


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Box code relative to anchors: ty, tx, th, tw, without variances.

    Args:
        boxes, anchors: ``(P, 4)`` x1, y1, x2, y2 in pixels.

    Returns:
        ``(P, 4)``.
    """
    size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centre, anchor_centre = boxes[:, :2] + size / 2, anchors[:, :2] + anchor_size / 2
    shift = (centre - anchor_centre) / anchor_size
    scale = torch.log(size.clamp(min=1e-3) / anchor_size)
    return torch.cat([shift.flip(1), scale.flip(1)], dim=1)


def decode(code: Tensor, anchors: Tensor) -> Tensor:
    """Boxes of a code: the inverse of ``encode``.

    Args:
        code: ``(..., 4)`` ty, tx, th, tw.
        anchors: ``(..., 4)`` x1, y1, x2, y2, broadcast against ``code``.

    Returns:
        ``(..., 4)`` x1, y1, x2, y2 in pixels.
    """
    anchor_size = anchors[..., 2:] - anchors[..., :2]
    anchor_centre = anchors[..., :2] + anchor_size / 2
    centre = code[..., [1, 0]] * anchor_size + anchor_centre
    half = torch.exp(code[..., [3, 2]].clamp(max=MAX_LOG_SCALE)) * anchor_size / 2
    return torch.cat([centre - half, centre + half], dim=-1)
