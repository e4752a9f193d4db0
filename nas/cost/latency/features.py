"""Latency features: the numbers that an operator's time is a weighted sum of.

    time of a network = Σ over its operators Σ over the features  ms[family][feature] · feature

Channels are rounded up to whole blocks of `channel_block`, as runtimes compute them; those of the
picture aren't. A map of c channels and side s has c · s² values of 4 bytes; what of it exceeds
`near_bytes`, the share of a cache that stays at hand, is its far part. With these, the features are

    conv        calls 1, macs, out values, in values, weights k² · c_in · c_out, far out, far in
    depthwise   calls 1, macs, in values, far out, far in
    any other   calls 1, values of the larger of what it reads and gives, far of these

(`far` counts values too.) `calls` is what starting an operator takes, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from nas.genome.operators import Operator

Feature = Literal["calls", "macs", "out", "in", "weights", "values", "far", "far_out", "far_in"]

BYTES = 4
PICTURE = 3  # channels that are read as they are


class Machine(NamedTuple):
    """What the features depend on besides the operator.

    Attributes:
        channel_block: channels that are computed together.
        near_bytes: of a map, what stays in a near cache.
    """

    channel_block: int = 16
    near_bytes: int = 2**20


def latency_features(operator: Operator, machine: Machine) -> Mapping[Feature, float]:
    """Returns the features of one operator, by name."""
    before = _padded(operator.channels_in, machine.channel_block)
    after = _padded(operator.channels, machine.channel_block)
    reads, gives = before * operator.size_in**2, after * operator.size**2
    far_in, far_out = _far(reads, machine), _far(gives, machine)
    kernel, _ = operator.window
    if operator.kind.startswith("conv"):
        weights = before * after * kernel**2
        return {
            "calls": 1,
            "macs": weights * operator.size**2,
            "out": gives,
            "in": reads,
            "weights": weights,
            "far_out": far_out,
            "far_in": far_in,
        }
    if operator.kind.startswith("depthwise"):
        macs = gives * kernel**2
        return {"calls": 1, "macs": macs, "in": reads, "far_out": far_out, "far_in": far_in}
    return {"calls": 1, "values": max(reads, gives), "far": max(far_in, far_out)}


def family(operator: Operator) -> str:
    """Returns what operators of the same weights share: kind, and whether they read a picture."""
    reads_picture = operator.kind.startswith("conv") and operator.channels_in <= PICTURE
    return f"{operator.kind} of the picture" if reads_picture else operator.kind


def extent(operator: Operator) -> int:
    """Returns how large an operator is: multiply-adds of a convolution, values of any other."""
    larger = max(operator.channels_in * operator.size_in**2, operator.channels * operator.size**2)
    return operator.macs or larger


def _padded(channels: int, block: int) -> int:
    return channels if channels <= PICTURE else -(-channels // block) * block


def _far(values: int, machine: Machine) -> int:
    return max(0, values - machine.near_bytes // BYTES)
