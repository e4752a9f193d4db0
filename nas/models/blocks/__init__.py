"""Blocks: one file per type of the schema."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.genome.units import fused_channels
from nas.models.activations import activation
from nas.models.registry import BLOCKS, Site, module_class
from nas.models.stochastic_depth import StochasticDepth


class FusedBlock(nn.Module):
    """Combines the inputs, activates that, and runs the block's copies one after the other.

    Inputs are added, added with one learnt factor each (1 at first), or concatenated.

    Inputs: tensors `(N, C, S, S)`, of one shape where they are added. Output `(N, C', S', S')`;
    with `gives_expanded` also the map `(N, C_wide, S, S)` inside the first copy.

    Args:
        unit: a unit of kind `block`.
        norm: constants of batch norm.
        drop_path: probability of dropping the residual branch of an image.
        gives_expanded: whether a unit reads the map inside the first copy, whose `both` returns
            it too.
    """

    def __init__(
        self, unit: Unit, norm: BatchNorm, drop_path: float, gives_expanded: bool = False
    ) -> None:
        super().__init__()
        self.gives_expanded = gives_expanded
        block = unit.block
        assert block is not None
        self.combine = block.combine
        if self.combine == "weighted_sum":
            self.factors = nn.Parameter(torch.ones(len(unit.ins)))
        self.act = activation(block.fuse_activation)
        dropped = StochasticDepth(drop_path) if drop_path else nn.Identity()
        make = module_class(BLOCKS, block.op, f"block {block.id!r}")
        first = Site(fused_channels(unit), unit.width, block.op.window.stride, norm, dropped)
        later = first._replace(channels=unit.outs[0].channels, stride=1)
        sites = [first, *[later] * (block.repeats - 1)]
        self.copies = nn.Sequential(*(make(block.op, site) for site in sites))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Combines the inputs, activates, and runs the copies."""
        x = self._combined(inputs)
        if x is inputs[0] and not isinstance(self.act, nn.Identity):
            x = x.clone()  # the activation works in place, and others may read this input
        x = self.act(x)
        first: Any = self.copies[0]
        if not self.gives_expanded:
            out: Tensor = self.copies(x)
            return out
        out, wide = first.both(x)
        for copy in self.copies[1:]:
            out = copy(out)
        return out, wide

    def _combined(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Returns the inputs as one map; the input itself if there is one, without a factor."""
        if self.combine == "concat":
            return torch.cat(inputs, dim=1) if len(inputs) > 1 else inputs[0]
        if self.combine == "weighted_sum":
            inputs = tuple(f * x for f, x in zip(self.factors, inputs, strict=True))
        x = inputs[0]
        for other in inputs[1:]:
            x = x + other
        return x
