"""The matcher: which anchor learns which object, for a whole batch at once."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou


class Matches(NamedTuple):
    """The positive anchors of a batch; P of them in all.

    Attributes:
        images: `(P,)` index of the image.
        anchors: `(P,)` index of the anchor.
        objects: `(P,)` index of the object within its image's padded boxes.
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

    An anchor is positive for its best object at an IoU of at least `threshold`; besides, each
    object takes the anchor that overlaps it most, however little.

    Args:
        anchors: `(A, 4)` x1, y1, x2, y2.
        boxes: `(B, M, 4)`, padded.
        labels: `(B, M)`, 0 where padded.
        threshold: of IoU.
        claim: which of several objects that want one anchor gets it. `last` is torchvision's
            SSD, where an object that overlaps no anchor takes the first of all.
    """
    batch, most = labels.shape
    count = len(anchors)
    if most == 0:
        empty = labels.new_zeros(0)
        return Matches(empty, empty, empty)
    # Rule 1: an anchor's best object, if it overlaps enough; padding overlaps nothing.
    iou = box_iou(boxes.reshape(-1, 4), anchors).reshape(batch, most, count)
    iou = torch.where((labels > 0)[:, :, None], iou, -1.0)
    best_iou, best_object = iou.max(dim=1)  # (B, A)
    positive = best_iou >= threshold
    # Rule 2: an object claims the anchor that it overlaps most, whatever rule 1 says of that.
    overlap, favourite = iou.max(dim=2)  # (B, M)
    claims = overlap > 0 if claim == "first" else labels > 0
    rank = torch.arange(most, device=iou.device).expand(batch, most)
    # Among the claims of one anchor the smallest counts: the first object, or minus the last.
    sign = 1 if claim == "first" else -1
    rank = torch.where(claims, sign * rank, most)
    chosen = torch.full_like(best_object, most).scatter_reduce(1, favourite, rank, "amin")
    best_object = torch.where(chosen < most, chosen.abs(), best_object)
    positive |= chosen < most
    images, places = positive.nonzero(as_tuple=True)
    return Matches(images, places, best_object[images, places])
