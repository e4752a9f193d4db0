"""Predictions of a few anchors only, so that their gradient is made from a few pixels only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.models.fast_cpu.convolutions import PointwiseConv2d, is_pointwise
from nas.models.heads.anchor_head import by_anchor
from nas.models.heads.ssd import SSD, SSDSample


def accelerate_predictors(head: SSD) -> None:
    """Gives the last convolutions of separable predictors their fast class."""
    if head.settings.separable:
        for predictor in (*head.class_predictors, *head.box_predictors):
            output = predictor[-1]
            if is_pointwise(output):
                output.__class__ = PointwiseConv2d


class SparseSSD(SSD):
    """An SSD head that doesn't take gradients of predictions that nothing is learnt from.

    Nearly all have no part in the losses. Where the last convolution is a 1×1, all logits are
    predicted without a gradient, to mine negatives by; then those of the sample again, with one.
    """

    def predictions_at(
        self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor
    ) -> tuple[SSDSample, Tensor, Tensor]:
        """Chooses which predictions are learnt from; see `SSD`."""
        if not self.settings.separable:
            return super().predictions_at(maps, boxes, labels)
        outputs, hidden = _hidden(self.class_predictors, maps)
        with torch.no_grad():
            everywhere = [out(x) for out, x in zip(outputs, hidden, strict=True)]
            logits = torch.cat([by_anchor(x, self.num_classes) for x in everywhere], dim=1)
            sample = self.sample(logits, boxes, labels)
        logits = predicted_at(outputs, hidden, sample.images, sample.places, self.num_classes)
        outputs, hidden = _hidden(self.box_predictors, maps)
        deltas = predicted_at(outputs, hidden, *sample.positive_rows, 4)
        return sample, logits, deltas


def _hidden(
    predictors: nn.ModuleList, maps: Sequence[Tensor]
) -> tuple[list[nn.Conv2d], list[Tensor]]:
    """Returns the 1×1 convolutions of separable predictors, and what they read."""
    outputs, hidden = [], []
    for predictor, x in zip(predictors, maps, strict=True):
        assert isinstance(predictor, nn.Sequential)
        depthwise, output = predictor
        assert isinstance(output, nn.Conv2d)
        outputs.append(output)
        hidden.append(depthwise(x))
    return outputs, hidden


def predicted_at(
    outputs: Sequence[nn.Conv2d],
    hidden: Sequence[Tensor],
    images: Tensor,
    places: Tensor,
    values: int,
) -> Tensor:
    """Computes rows of what 1×1 convolutions give for the anchors of all maps.

    Args:
        outputs: one convolution a map, from C to A · `values` channels, with bias.
        hidden: the maps, each `(B, C, S, S)`.
        images: `(R,)` image of each row.
        places: `(R,)` anchor of each row; anchors by map, row, column, then within the pixel.
        values: numbers of one anchor.

    Returns:
        `(R, values)`. Every convolution takes part, if with no row, and so has a gradient.
    """
    rows, order, first = [], [], 0
    for output, x in zip(outputs, hidden, strict=True):
        anchors, cells = output.out_channels // values, x.shape[2] * x.shape[3]
        here = ((places >= first) & (places < first + cells * anchors)).nonzero()[:, 0]
        place = places[here] - first
        pixels = images[here] * cells + place.div(anchors, rounding_mode="floor")
        by_pixel = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        weights, biases = output.weight.flatten(1), output.bias
        assert biases is not None
        # Each anchor of a pixel has its own rows of the weights: one product for each.
        for anchor in range(anchors):
            own = (place % anchors == anchor).nonzero()[:, 0]
            part = slice(anchor * values, (anchor + 1) * values)
            hidden_rows = by_pixel.index_select(0, pixels[own])
            rows.append(F.linear(hidden_rows, weights[part], biases[part]))
            order.append(here[own])
        first += cells * anchors
    return torch.cat(rows)[torch.cat(order).argsort()]
