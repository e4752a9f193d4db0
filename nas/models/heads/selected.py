"""Predictions of a few anchors only, so that their gradient is made from a few pixels only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def predicted_at(
    outputs: Sequence[nn.Conv2d],
    hidden: Sequence[Tensor],
    images: Tensor,
    places: Tensor,
    values: int,
) -> Tensor:
    """Computes what 1×1 convolutions give for some anchors of all maps.

    Args:
        outputs: one convolution a map, from C to A · `values` channels, with bias.
        hidden: the maps, each `(B, C, S, S)`.
        images: `(R,)` image of each row.
        places: `(R,)` anchor of each row; anchors by map, row, column, then within the place.
        values: numbers of one anchor.

    Returns:
        `(R, values)`. Every convolution takes part, if with no row, and so has a gradient.
    """
    rows_of, order, first = [], [], 0
    for output, x in zip(outputs, hidden, strict=True):
        anchors, cells = output.out_channels // values, x.shape[2] * x.shape[3]
        here = ((places >= first) & (places < first + cells * anchors)).nonzero()[:, 0]
        place = places[here] - first
        pixels = images[here] * cells + place.div(anchors, rounding_mode="floor")
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        weights, biases = output.weight.flatten(1), output.bias
        assert biases is not None
        for anchor in range(anchors):
            own = (place % anchors == anchor).nonzero()[:, 0]
            part = slice(anchor * values, (anchor + 1) * values)
            rows_of.append(F.linear(rows.index_select(0, pixels[own]), weights[part], biases[part]))
            order.append(here[own])
        first += cells * anchors
    return torch.cat(rows_of)[torch.cat(order).argsort()]
