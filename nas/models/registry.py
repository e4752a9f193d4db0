"""The tables of modules: which class is built of a part, by the part's `type`.

    from nas.models.registry import BLOCKS
    BLOCKS["star"] = "my_package.star_module:Star"

A part of that type stands in the table of the same kind in `nas.genome.parts`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from nas.errors import GenomeError
from nas.genome.network import BatchNorm
from nas.tables import OpenTable

BLOCKS = OpenTable(
    "models.blocks",
    {
        "bottleneck": "nas.models.blocks.bottleneck:BottleneckBlock",
        "conv": "nas.models.blocks.conv:ConvBlock",
        "fused_inverted_residual": "nas.models.blocks.fused_inverted_residual:FusedResidualBlock",
        "inverted_residual": "nas.models.blocks.inverted_residual:InvertedResidualBlock",
        "max_pool": "nas.models.blocks.max_pool:MaxPoolBlock",
        "residual": "nas.models.blocks.residual:ResidualBlock",
        "tucker": "nas.models.blocks.tucker:TuckerBlock",
    },
)
"""Modules of operations; called with the part and a `Site`."""

EDGES = OpenTable(
    "models.edges",
    {
        "alpha": "nas.models.edges.alpha:Alpha",
        "separable": "nas.models.edges.separable:Separable",
    },
)
"""Modules of resamplings; called with the part, its unit and the batch norm."""

NECKS = OpenTable(
    "models.necks",
    {
        "pool": "nas.models.necks.pool:pool",
        "endpoints": "nas.models.necks.endpoints:Endpoint",
        "rfcr": "nas.models.necks.rfcr:RFCRNeck",
    },
)
"""Modules of transforms, endpoints and necks; called with the part, its unit and the batch norm."""

HEADS = OpenTable(
    "models.heads",
    {
        "retinanet": "nas.models.heads.retinanet:RetinaNet",
        "ssd": "nas.models.heads.ssd:SSD",
    },
)
"""Modules of heads; called with the part, its unit, classes, batch norm and the image's side."""


class Site(NamedTuple):
    """Where one copy of a block stands.

    Attributes:
        channels: that it reads.
        width: resolved base width of the operation.
        stride: of this copy; copies after the first have 1.
        norm: constants of batch norm.
        dropped: stochastic depth of the residual branch.
    """

    channels: int
    width: int
    stride: int
    norm: BatchNorm
    dropped: nn.Module


def module_class(table: OpenTable, part: Any, what: str) -> Any:
    """Returns the class that is built of a part.

    Args:
        table: one of those above.
        part: with a `type`.
        what: it is of which unit, for the message.

    Raises:
        GenomeError: when the table hasn't its type; names those that it has.
    """
    if part.type not in table:
        raise GenomeError(
            f"{what}: no model for type {part.type!r}; legal to build: {', '.join(sorted(table))}"
        )
    return table.load(part.type)
