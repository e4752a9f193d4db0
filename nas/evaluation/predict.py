"""From a trained model to detections on a split, in the pixels of the user's images."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.data.batches import EvalBatches
from nas.data.cache import PixelCache
from nas.data.coco import Image, Split
from nas.data.resize import Placement
from nas.evaluation.detections import ImageDetections

log = logging.getLogger(__name__)


def predict_split(
    model: nn.Module,
    cache: PixelCache,
    split: Split,
    batch_size: int = 16,
    *,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
) -> dict[int, ImageDetections]:
    """Runs `model.detect` over a split.

    Args:
        model: It has `detect(images (B, 3, S, S) uint8) -> [{"boxes", "labels", "scores"}]`, boxes
            in input pixels; it is put into evaluation mode for the while.
        cache: Pixels of `split` at the model's input size.
        split: The images.
        batch_size: Images of a forward pass.
        device: Where the model runs, and stays.
        precision: Type of the numbers in autocast; None runs as the weights are.

    Returns:
        By image id: boxes (n, 4) float64 xyxy in original pixels, inside the image, labels (n,)
        from 1, scores (n,). Boxes without area are left out, and so are those with a number that
        isn't finite, with one warning that counts them. An image that could not be decoded has no
        entry.
    """
    device = torch.device(device)
    images = {image.id: image for image in split.images}
    detections: dict[int, ImageDetections] = {}
    was_training, lost = model.training, 0
    model.to(device).eval()
    try:
        for batch in EvalBatches(cache, split, batch_size):
            with (
                torch.inference_mode(),
                torch.autocast(device.type, precision, enabled=precision is not None),
            ):
                outputs = model.detect(batch.images.to(device))  # type: ignore[operator]
            for image_id, place, one in zip(
                batch.image_ids, batch.placements, outputs, strict=True
            ):
                arrays = {name: tensor.cpu().numpy() for name, tensor in one.items()}
                detections[image_id] = in_image(arrays, place, images[image_id])
                lost += int((~_finite(arrays)).sum())
    finally:
        model.train(was_training)
    if lost:
        log.warning("%d detections on %s aren't finite numbers, and are left out", lost, split.name)
    return detections


def in_image(detections: ImageDetections, place: Placement, image: Image) -> ImageDetections:
    """Takes the detections of one input back to the pixels of its image, and clips them."""
    edge = np.array([image.width, image.height] * 2, dtype=np.float64)
    boxes: NDArray[Any] = place.to_image(np.asarray(detections["boxes"], dtype=np.float64))
    boxes = np.clip(boxes, 0, edge)
    scores = np.asarray(detections["scores"], dtype=np.float64)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & _finite(detections)
    return {
        "boxes": boxes[kept],
        "labels": np.asarray(detections["labels"])[kept],
        "scores": scores[kept],
    }


def _finite(detections: ImageDetections) -> NDArray[np.bool_]:
    """Returns which detections (n,) have finite boxes and scores."""
    return np.isfinite(detections["boxes"]).all(axis=1) & np.isfinite(detections["scores"])
