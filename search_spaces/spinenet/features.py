"""What describes a scale-permuted network to a model of its reward and its costs."""

from __future__ import annotations

from collections import Counter

from nas.genome import Genome
from nas.genome.listing import resolve
from search_spaces.spinenet.listing import STEM_BLOCKS

_COUNTED = (
    *(f"level{level}" for level in range(1, 8)),
    *("bottleneck", "residual", "down", "same", "up", "octaves", "merges"),
)


def features(genome: Genome) -> dict[str, float]:
    """Returns counts over the permuted blocks that reach a tap.

    These are the blocks of each level and type; the edges that go down, up or stay, and how many
    octaves they span together; merges of dangling blocks; and the longest path from the stem.
    """
    blocks, _ = resolve(genome)
    permuted = [block for block in blocks.values() if block.rank is not None]
    features: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    depth = dict.fromkeys(STEM_BLOCKS, 0)
    for block in permuted:
        features[f"level{block.level}"] += 1
        features[block.op.type] += 1
        for edge in block.inputs:
            if not edge.resample.changes:
                features["merges"] += 1
                continue
            steps = block.level - blocks[edge.block].level
            features["up" if steps < 0 else "down" if steps else "same"] += 1
            features["octaves"] += abs(steps)
        # A parent is listed, and so has its depth, before whoever reads it.
        depth[block.id] = 1 + max(depth.get(edge.block, 0) for edge in block.inputs)
    return {
        **{name: float(count) for name, count in sorted(features.items())},
        "blocks": float(len(permuted)),
        "depth": float(max(depth.values())),
    }
