"""Detectors that are done with training: batch norms as parts of the convolutions before them."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(model: nn.Module) -> None:
    """Makes batch norms part of the convolutions before them, in place, for evaluation only.

    Those that stand behind a convolution in an ``nn.Sequential`` go; an activation behind them
    works in place from then on.
    """
    for layers in model.modules():
        if isinstance(layers, nn.Sequential):
            _fold(layers)


def _fold(layers: nn.Sequential) -> None:
    named = list(layers.named_children())
    for at, ((name, conv), (after, norm)) in enumerate(pairwise(named)):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(layers, name, fuse_conv_bn_eval(conv, norm))
            setattr(layers, after, nn.Identity())
            for _, behind in named[at + 2 : at + 3]:
                if isinstance(behind, nn.Hardswish | nn.SiLU):
                    behind.inplace = True
