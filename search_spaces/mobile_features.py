"""What describes a mobile detector to a model of its reward and its costs."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from nas.genome import Genome
from nas.genome.necks import RFCR
from nas.genome.operations import FusedInvertedResidual, InvertedResidual, Tucker
from nas.genome.plan import layout
from nas.genome.shapes import Fitted, compressed, expanded

LEVELS = range(1, 6)
"""log2 of the strides that a backbone's maps have."""

_COUNTED = (
    *(f"layers{level}" for level in LEVELS),
    *("inverted_residual", "fused_inverted_residual", "tucker"),
    *("kernel5", "squeeze_excite", "hard_swish", "extras"),
)


class _Described(NamedTuple):
    """A block: what it counts as; level; weights and multiply-adds of its convolutions."""

    counts: tuple[str, ...]
    level: int
    weights: int
    macs: int


def features(genome: Genome) -> dict[str, float]:
    """Counts of layers; and log2 of work, weights, channels and sides.

    ``work{level}`` is of a level's multiply-adds in the backbone, ``weights`` of backbone and extra
    blocks, ``channels{level}`` of a map that the head reads; 0 where there is none.  They are for
    telling networks apart: squeeze-excite and head are left out, and costs count exactly.
    """
    found = layout(genome)
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    macs, weights = dict.fromkeys(LEVELS, 0), 0
    for fit in found.fitted.values():
        block = _described(fit)
        counts.update(block.counts)
        weights += block.weights
        if block.counts != ("extras",):
            macs[block.level] += block.macs
    channels = dict.fromkeys(LEVELS[2:], 0)
    channels |= {shape.level: shape.channels for shape in found.offered if shape.level in channels}
    places = sum(shape.size**2 for shape in found.offered)
    neck = genome.neck
    return {
        **{name: float(count) for name, count in sorted(counts.items())},
        **{f"work{level}": _log2(count) for level, count in macs.items()},
        **{f"channels{level}": _log2(count) for level, count in channels.items()},
        "work": _log2(sum(macs.values())),
        "weights": _log2(weights),
        "depth": float(sum(counts[f"layers{level}"] for level in LEVELS)),
        "side": _log2(genome.input.size),
        "places": _log2(places),
        "collect": float(neck.collect) if isinstance(neck, RFCR) else 0.0,
    }


def _log2(value: float) -> float:
    return math.log2(value) if value else 0.0


@lru_cache(maxsize=4096)
def _described(fit: Fitted) -> _Described:
    op, source, out = fit.block.op, fit.ins[0], fit.outs[0].shape
    kernel = getattr(op, "kernel", 1)
    places_in, places = source.size**2, out.size**2
    if isinstance(op, InvertedResidual):
        wide = fit.outs[1].shape.channels
        widening = source.channels * wide if op.expansion != 1 else 0
        steps = [(widening, places_in), (wide * kernel**2, places), (wide * out.channels, places)]
    elif isinstance(op, FusedInvertedResidual):
        wide = expanded(source.channels, op.expansion)
        steps = [(source.channels * wide * kernel**2, places), (wide * out.channels, places)]
    elif isinstance(op, Tucker):
        into = compressed(source.channels, op.input_ratio)
        inner = compressed(out.channels, op.output_ratio)
        steps = [(source.channels * into, places_in), (into * inner * kernel**2, places)]
        steps.append((inner * out.channels, places))
    else:
        steps = [(source.channels * out.channels * kernel**2, places)]
    weights = sum(count for count, _ in steps)
    return _Described(_counts(fit), fit.block.level, weights, sum(n * at for n, at in steps))


def _counts(fit: Fitted) -> tuple[str, ...]:
    op = fit.block.op
    if getattr(op, "project_activation", "none") != "none":
        return ("extras",)
    counts = [f"layers{fit.block.level}", *([op.type] if op.type in _COUNTED else [])]
    counts += ["kernel5"] * (getattr(op, "kernel", 1) == 5)
    counts += ["squeeze_excite"] * (getattr(op, "squeeze_excite", None) is not None)
    counts += ["hard_swish"] * (getattr(op, "activation", "none") == "hard_swish")
    return tuple(counts)
