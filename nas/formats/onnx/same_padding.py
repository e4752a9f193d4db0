"""Convolutions padded as TensorFlow does, in ONNX: one node with pads of its own.

Torch writes a padding that differs between sides as a node before the convolution, with a handful
of others that work out its sizes. ONNX's convolution takes four numbers, as every runtime does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.models.layers import SameConv2d


class _OwnPads(SameConv2d):
    """The same convolution while it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        """Filters a map by a function that says how it stands in ONNX."""
        out: Tensor = _Convolution.apply(
            x,
            self.weight,
            self.bias,
            self.pads(x.shape[-1]),
            self.stride[0],
            self.dilation[0],
            self.groups,
        )
        return out


class _Convolution(torch.autograd.Function):
    """A convolution with pixels before and behind a map."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        pads: tuple[int, int],
        stride: int,
        dilation: int,
        groups: int,
    ) -> Tensor:
        return F.conv2d(F.pad(x, (*pads, *pads)), weight, bias, stride, 0, dilation, groups)

    @staticmethod
    def symbolic(
        g: Any,
        x: Any,
        weight: Any,
        bias: Any,
        pads: tuple[int, int],
        stride: int,
        dilation: int,
        groups: int,
    ) -> Any:
        """Returns the node; `pads` are top, left, bottom, right."""
        kernel = weight.type().sizes()[2:]
        before, after = pads
        inputs = [x, weight] if bias is None or bias.node().mustBeNone() else [x, weight, bias]
        return g.op(
            "Conv",
            *inputs,
            kernel_shape_i=kernel,
            strides_i=[stride] * 2,
            pads_i=[before, before, after, after],
            dilations_i=[dilation] * 2,
            group_i=groups,
        )


@contextmanager
def own_pads(model: nn.Module) -> Iterator[None]:
    """Has a model's convolutions traced as one node each; behind it, the model is as it was."""
    padded = [module for module in model.modules() if isinstance(module, SameConv2d)]
    classes = [type(module) for module in padded]
    for module in padded:
        module.__class__ = _OwnPads
    try:
        yield
    finally:
        for module, its_class in zip(padded, classes, strict=True):
            module.__class__ = its_class
