"""Detectors that are done with training: batch norms as parts of the convolutions before them."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nas.models.activations import rule_of
from nas.models.fast_cpu.convolutions import (
    DepthwiseConv2d,
    DepthwiseSameConv2d,
    PointwiseConv2d,
)
from nas.models.layers import SameConv2d

_FOLDABLE = (nn.Conv2d, SameConv2d, PointwiseConv2d, DepthwiseConv2d, DepthwiseSameConv2d)
"""Exactly these: a convolution of another class may do something else with its weights."""


def fold_norms(model: nn.Module) -> None:
    """Makes batch norms part of the convolutions before them, in place, for evaluation only.

    Those that stand behind a convolution in an `nn.Sequential` go, and an activation behind them
    works in place from then on. The rest stays as it is.
    """
    for layers in model.modules():
        if isinstance(layers, nn.Sequential):
            _fold(layers)


def _fold(layers: nn.Sequential) -> None:
    """Folds each batch norm of a sequence; an identity takes its place, so that names stay."""
    named = list(layers.named_children())
    for at, ((conv_name, conv), (norm_name, norm)) in enumerate(pairwise(named)):
        if type(conv) in _FOLDABLE and type(norm) is nn.BatchNorm2d:
            assert isinstance(conv, nn.Conv2d)
            setattr(layers, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(layers, norm_name, nn.Identity())
            for _, behind in named[at + 2 : at + 3]:
                rule = rule_of(behind)
                if rule is not None and rule.in_place != "never":
                    assert isinstance(behind, nn.ReLU | nn.ReLU6 | nn.SiLU | nn.Hardswish)
                    behind.inplace = True
