"""From the scores of all anchors of one image to detections."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from nas.genome.parts import Postprocess

FIRST_CANDIDATES = 1000
"""The candidates that NMS sees at first: mostly enough for all detections that are kept."""


def best_detections(
    scores: Tensor, boxes_at: Callable[[Tensor], Tensor], size: int, settings: Postprocess
) -> dict[str, Tensor]:
    """Applies threshold, the best candidates of every class, NMS per class, the best of all.

    NMS goes from the best score down, so what it keeps of the best n candidates is what it would
    keep of these among all: it sees more only when they don't give enough detections.

    Args:
        scores: `(A, num_classes)` probabilities; column 0 is passed over.
        boxes_at: gives `(n, 4)` x1, y1, x2, y2 of the anchors with some indices.
        size: side of the input in pixels, to which boxes are clipped.
        settings: threshold, candidates of a class, IoU of NMS, detections.

    Returns:
        `boxes` `(n, 4)`, `labels` `(n,)` from 1, `scores` `(n,)`, best first.
    """
    places, classes = (scores[:, 1:] > settings.score).nonzero(as_tuple=True)
    values, labels = scores[places, classes + 1], classes + 1
    most = max(FIRST_CANDIDATES, 2 * settings.detections)
    while True:
        count = min(most, len(values))
        order = values.topk(count).indices
        order = order[_of_each_class(labels[order], settings.candidates)]
        boxes = clip_boxes_to_image(boxes_at(places[order]), (size, size))
        keep = batched_nms(boxes, values[order], labels[order], settings.iou)
        if count == len(values) or len(keep) >= settings.detections:
            keep = keep[: settings.detections]
            best = order[keep]
            return {"boxes": boxes[keep], "labels": labels[best], "scores": values[best]}
        most *= 8


def _of_each_class(labels: Tensor, most: int) -> Tensor:
    """Returns the indices of the first `most` of every label, in order."""
    if len(labels) <= most:
        return torch.arange(len(labels), device=labels.device)
    by_label = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    position = torch.arange(len(labels), device=labels.device) - starts[labels[by_label]]
    return by_label[position < most].sort().values
