"""torchvision's SSDlite and ours with the same weights, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from nas.models import Detector
from nas.models.pretrained.loading import start_from
from tests.genome.counting import published
from tests.models.tiny import built

NAME = "ssdlite320-mobilenetv3-large"
SIZE = 320


def theirs(num_classes: int, seed: int = 0) -> SSD:
    """torchvision's class with wide outputs and batch norms that have seen something."""
    torch.manual_seed(seed)
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=num_classes
    )
    livened(model)
    return model.eval()


@torch.no_grad()
def livened(model: nn.Module) -> None:
    """Draws weights under which maps neither vanish nor explode, and scores differ."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.2)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                module.bias.normal_(std=0.3)


def twin(other: SSD, num_classes: int, folder: Path) -> Detector:
    """Ours with the weights of torchvision's."""
    torch.save(other.state_dict(), folder / "theirs.pth")
    model = built(published(NAME), num_classes)
    start_from(model, folder / "theirs.pth")
    return model.eval()


def raw_of(other: SSD, images: Tensor) -> dict[str, Tensor]:
    """torchvision's raw outputs for normalised `(B, 3, 320, 320)`."""
    maps = list(other.backbone(images).values())
    found: dict[str, Tensor] = other.head(maps)
    return found


def boxes_of(other: SSD, images: Tensor) -> list[Tensor]:
    """torchvision's default boxes for each picture."""
    maps = list(other.backbone(images).values())
    sizes = [(SIZE, SIZE)] * len(images)
    found: list[Tensor] = other.anchor_generator(ImageList(images, sizes), maps)
    return found
