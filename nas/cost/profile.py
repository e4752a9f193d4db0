"""What a whole genome costs, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from nas.cost.latency import latency_ms
from nas.cost.latency.table import LatencyTable
from nas.cost.units import block_cost, unit_cost
from nas.genome import Genome
from nas.genome.layout import shipped_blocks
from nas.genome.plan import ends, lower
from nas.genome.units import deployed


class ProfileRow(NamedTuple):
    """One line of a profile's table.

    Attributes:
        name: the block's id; for an edge `parent > child`.
        kind, type: of the unit and of its part.
        level: nominal log2 stride of the output.
        channels, size: its shape.
        params, macs: its cost.
    """

    name: str
    kind: str
    type: str
    level: int
    channels: int
    size: int
    params: int
    macs: int


@dataclass(frozen=True)
class Profile:
    """Cost of a genome as deployed, at one input size and number of classes.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of convolutions for one picture.
        bits: stored bits of the parameters.
        backbone_params, backbone_macs: of everything before the head.
        image_size: side of the input in pixels.
        num_classes: background counts.
        latency_ms: time of one picture by a device's table; None without one.
    """

    params: int
    macs: int
    bits: int
    backbone_params: int
    backbone_macs: int
    image_size: int
    num_classes: int
    latency_ms: float | None
    _genome: Genome = field(repr=False)

    @cached_property
    def table(self) -> tuple[ProfileRow, ...]:
        """Returns one row per unit, in the genome's order."""
        units = deployed(lower(self._genome))
        ids = {unit.name: unit.block.id for unit in units if unit.block}
        rows = []
        for unit in units:
            cost = unit_cost(unit, self.num_classes)
            name = ids.get(unit.name, unit.name)
            if unit.kind == "edge" and unit.block is not None:
                name = f"{ids.get(unit.inputs[0].unit, '?')} > {unit.block.id}"
            out = unit.outs[0]
            shape = (out.level, out.channels, out.size)
            rows.append(ProfileRow(name, unit.kind, unit.part.type, *shape, *cost[:2]))
        return tuple(rows)

    def costs(self) -> Mapping[str, float]:
        """Returns what limits and objectives read, by name."""
        costs: dict[str, float] = {"params": self.params, "macs": self.macs, "bits": self.bits}
        return costs if self.latency_ms is None else costs | {"latency_ms": self.latency_ms}


def profile(
    genome: Genome,
    image_size: int | None = None,
    num_classes: int = 91,
    latency: LatencyTable | None = None,
) -> Profile:
    """Counts a genome without building it.

    Args:
        genome: as deployed; what only training reads isn't counted.
        image_size: side of the input in pixels; the genome's own by default.
        num_classes: background counts; 91 is COCO's, as in the published tables.
        latency: a device's times, for `latency_ms`.

    Raises:
        GenomeError: when the genome isn't legal, or no module is built for a part yet.
        ConfigError: when the table lacks one of its operators.
    """
    if image_size is not None and image_size != genome.input.size:
        genome = genome.scaled(input_size=image_size)
    layout = genome.layout
    *others, head = [unit_cost(unit, num_classes) for unit in deployed(ends(genome))]
    costs = [
        *[block_cost(name, resolved) for name, resolved in shipped_blocks(layout).items()],
        *others,
        head,
    ]
    params = sum([cost.params for cost in costs])
    macs = sum([cost.macs for cost in costs])
    return Profile(
        params=params,
        macs=macs,
        bits=sum([cost.bits for cost in costs]),
        backbone_params=params - head.params,
        backbone_macs=macs - head.macs,
        image_size=genome.input.size,
        num_classes=num_classes,
        latency_ms=None if latency is None else latency_ms(genome, latency, num_classes),
        _genome=genome,
    )
