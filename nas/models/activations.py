"""Activations by name: the module, whether it may work in place, and its arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.genome.part import Activation

aten = torch.ops.aten


class Elementwise(NamedTuple):
    """An activation without autograd, for steps that make several layers' gradient at once.

    Attributes:
        forward: of z; may work in place.
        backward: from the gradient behind it, z and its output y to the gradient before it.
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


class ActivationRule(NamedTuple):
    """What is known of an activation.

    Attributes:
        module: its class.
        in_place: always where the gradient is made from the output; where it is made from the
            input, torch would copy that first, so in inference alone.
        by_hand: None where no fused step knows it.
    """

    module: type[nn.Module]
    in_place: Literal["always", "inference", "never"]
    by_hand: Elementwise | None = None


ACTIVATIONS: dict[Activation, ActivationRule] = {
    "none": ActivationRule(nn.Identity, "never"),
    "relu": ActivationRule(
        nn.ReLU,
        "always",
        Elementwise(
            torch.relu_, lambda g, z, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g)
        ),
    ),
    "relu6": ActivationRule(
        nn.ReLU6,
        "always",
        Elementwise(
            lambda z: F.hardtanh_(z, 0.0, 6.0),
            lambda g, z, y: aten.hardtanh_backward.grad_input(g, y, 0.0, 6.0, grad_input=g),
        ),
    ),
    "swish": ActivationRule(
        nn.SiLU, "inference", Elementwise(F.silu, lambda g, z, y: aten.silu_backward(g, z))
    ),
    "hard_swish": ActivationRule(
        nn.Hardswish,
        "inference",
        Elementwise(F.hardswish, lambda g, z, y: aten.hardswish_backward(g, z)),
    ),
    "sigmoid": ActivationRule(nn.Sigmoid, "never"),
    "hard_sigmoid": ActivationRule(nn.Hardsigmoid, "never"),
}
_BY_CLASS = {rule.module: rule for rule in ACTIVATIONS.values()}


def activation(name: Activation) -> nn.Module:
    """Makes the module of an activation's name."""
    rule = ACTIVATIONS[name]
    return rule.module(inplace=True) if rule.in_place == "always" else rule.module()


def rule_of(module: nn.Module) -> ActivationRule | None:
    """Returns what is known of a module, or None if it isn't one of these activations."""
    return _BY_CLASS.get(type(module))
