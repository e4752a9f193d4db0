"""torchvision's MobileNets, trained to classify: the backbone of `features`, block by block."""

from __future__ import annotations

from nas.models.pretrained.assignment import Assignment
from nas.models.pretrained.base import WeightSource
from nas.models.pretrained.state_dicts import StateDict, blocks_of

_STEM = "features.0.0.weight"


class MobileNetV3(WeightSource):
    """A backbone whose blocks keep their layers in `block`."""

    title = "a MobileNetV3 of torchvision"
    accepts = "a state dict of torchvision's mobilenet_v3_large or mobilenet_v3_small"

    def recognises(self, file: StateDict) -> bool:
        """Tells whether a file has the stem, and blocks with a `block`."""
        return _STEM in file.tensors and any(".block." in name for name in file.tensors)

    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns the blocks from the image on, as far as they fit."""
        return assignment.assign_backbone(blocks_of(file.layers, "features."))


class MobileNetV2(WeightSource):
    """A backbone whose blocks keep their layers in `conv`."""

    title = "a MobileNetV2 of torchvision"
    accepts = "a state dict of torchvision's mobilenet_v2"

    def recognises(self, file: StateDict) -> bool:
        """Tells whether a file has the stem, and a first block with a `conv`."""
        first = "features.1.conv."
        return _STEM in file.tensors and any(name.startswith(first) for name in file.tensors)

    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns the blocks from the image on, as far as they fit."""
        return assignment.assign_backbone(blocks_of(file.layers, "features."))
