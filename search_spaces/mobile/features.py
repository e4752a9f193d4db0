"""What describes a mobile detector to a model of its reward and its costs."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from nas.genome import Genome
from nas.genome.memo import remembered
from nas.genome.shapes import ResolvedBlock
from nas.genome.tally import Tally

LEVELS = range(1, 6)
"""log2 of the strides that a backbone's maps have."""

_COUNTED = (
    *(f"layers{level}" for level in LEVELS),
    *("inverted_residual", "fused_inverted_residual", "tucker"),
    *("kernel5", "squeeze_excite", "hard_swish", "extras"),
)


class _Described(NamedTuple):
    """What is counted of a block; weights and multiply-adds are those of its convolutions."""

    counts: tuple[str, ...]
    level: int
    weights: int
    macs: int


def features(genome: Genome) -> dict[str, float]:
    """Returns counts of layers, and log2 of work, weights, channels and sides.

    `work{level}` is of a level's multiply-adds in the backbone, `weights` of backbone and extra
    blocks, `channels{level}` of a map that the head reads; 0 where there is none. They are for
    telling networks apart: squeeze-excite and head are left out, and costs count exactly.
    """
    layout = genome.layout
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    macs, weights = dict.fromkeys(LEVELS, 0), 0
    for resolved in layout.resolved.values():
        block = _describe(resolved)
        counts.update(block.counts)
        weights += block.weights
        if block.counts != ("extras",):
            macs[block.level] += block.macs
    channels = dict.fromkeys(LEVELS[2:], 0)
    channels |= {shape.level: shape.channels for shape in layout.offered if shape.level in channels}
    places = sum(shape.size**2 for shape in layout.offered)
    neck = genome.neck
    return {
        **{name: float(counts[name]) for name in sorted(_COUNTED)},
        **{f"work{level}": _log2(count) for level, count in macs.items()},
        **{f"channels{level}": _log2(count) for level, count in channels.items()},
        "work": _log2(sum(macs.values())),
        "weights": _log2(weights),
        "depth": float(sum(counts[f"layers{level}"] for level in LEVELS)),
        "side": _log2(genome.input.size),
        "places": _log2(places),
        "collect": float(getattr(neck, "collect", 0.0)),
    }


def _log2(value: float) -> float:
    return math.log2(value) if value else 0.0


@remembered
def _describe(resolved: ResolvedBlock) -> _Described:
    op, source = resolved.block.op, resolved.ins[0]
    if getattr(op, "squeeze_excite", None) is not None:
        op = op.replace(squeeze_excite=None)
    tally = Tally()
    op.record(tally, tally.value(source.channels, source.size), resolved.width, op.window.stride)
    return _Described(_counts(resolved), resolved.block.level, tally.weights, tally.macs)


def _counts(resolved: ResolvedBlock) -> tuple[str, ...]:
    op = resolved.block.op
    if getattr(op, "project_activation", "none") != "none":
        return ("extras",)
    counts = [f"layers{resolved.block.level}", op.type]
    counts += ["kernel5"] * (getattr(op, "kernel", 1) == 5)
    counts += ["squeeze_excite"] * (getattr(op, "squeeze_excite", None) is not None)
    counts += ["hard_swish"] * (getattr(op, "activation", "none") == "hard_swish")
    return tuple(counts)
