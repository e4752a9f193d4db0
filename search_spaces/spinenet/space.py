"""The SpineNet search space: scale permutation, cross-scale connections, levels and types.

Sources: SpineNet, arXiv 1912.05027, sections 3.1 and 5.1 (the paper's setting);
google/vertex-ai-nas, nas_architecture/tunable_spinenet_search_space.py (the released ones).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from nas.errors import ConfigError, GenomeError
from nas.genome import Genome
from nas.genome.blocks import Block
from nas.genome.network import Input
from nas.settings import Settings
from nas.space import Code, Decision
from search_spaces.base import DetectorSpace, SpaceSettings
from search_spaces.spinenet.features import features
from search_spaces.spinenet.listing import (
    OUTPUT_LEVELS,
    STEM_BLOCKS,
    BlockFamily,
    BlockType,
    PermutedBlock,
    SpineNetDeploySettings,
    genome_from_listing,
)

Variant = Literal["paper", "released", "released-v2", "released-mobile"]


class SpineNetSpaceSettings(SpaceSettings):
    """What may be chosen, and how what is found is deployed.

    Attributes:
        variant: `paper`; or Google's `released` (11 intermediates, window 4),
            `released-v2` (10, window 4, offsets up to 1, bottlenecks only) or, for
            `deploy.block: mobile`, `released-mobile` (11, window 4, more of them coarse).
        intermediates: number of intermediate blocks, at most what the variant's allocation has.
        window: how many of the last blocks an intermediate may read; 0 is all of them.
        deploy: blocks, scale, head and input of the deployed detector; `deploy.block: mobile`
            makes every block an inverted residual, whatever the variant.
    """

    name: Literal["spinenet"] = "spinenet"
    variant: Variant = "paper"
    intermediates: int | None = Field(default=None, ge=1, le=11)
    window: int | None = Field(default=None, ge=0, le=32)
    deploy: SpineNetDeploySettings = SpineNetDeploySettings()


class _Rules(Settings):
    """One variant: intermediates per base level, level offsets, block types, window."""

    family: BlockFamily = "resnet"
    levels: tuple[int, ...]
    offsets: tuple[int, ...]
    types: tuple[BlockType, ...]
    window: int


_VARIANTS: dict[str, _Rules] = {
    "paper": _Rules(
        levels=(2, 3, 3, 3, 4, 4, 4, 4, 4, 5),
        offsets=(-1, 0, 1, 2),
        types=("bottleneck", "residual"),
        window=5,
    ),
    "released": _Rules(
        levels=(2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5),
        offsets=(-1, 0, 1, 2),
        types=("bottleneck", "residual"),
        window=4,
    ),
    "released-v2": _Rules(
        levels=(2, 3, 3, 3, 4, 4, 4, 4, 4, 5),
        offsets=(-1, 0, 1),
        types=("bottleneck",),
        window=4,
    ),
    "released-mobile": _Rules(
        family="mobile",
        levels=(2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5),
        offsets=(-1, 0, 1, 2),
        types=("inverted_residual",),
        window=4,
    ),
}


class SpineNetSpace(DetectorSpace):
    """Decisions in the paper's order: the permutation first, then each block's own choices.

    `intermediate{i}` picks which base block stands at place *i*, `output{i}` which level;
    then for each block its level offset (intermediates), its type and its pair of parents.

    Example:
        >>> import random
        >>> space = SpineNetSpace()
        >>> genome = space.sample(random.Random(0))
        >>> space.decode(space.encode(genome)) == genome
        True
    """

    name = "spinenet"
    settings_type = SpineNetSpaceSettings
    settings: SpineNetSpaceSettings

    def __init__(self, settings: SpineNetSpaceSettings | None = None, **changes: Any) -> None:
        """Takes settings, or their fields by name.

        Raises:
            ConfigError: for more intermediates than the variant's allocation has, or a variant
                that has other blocks.
        """
        self.settings = settings or SpineNetSpaceSettings(**changes)
        rules = _VARIANTS[self.settings.variant]
        mobile = self.settings.deploy.block == "mobile"
        if rules.family == "mobile" and not mobile:
            raise ConfigError(
                f"space.variant={self.settings.variant}: its blocks are inverted residuals; "
                "give deploy.block: mobile, or another variant"
            )
        most = len(rules.levels)
        self.intermediates = self.settings.intermediates or most
        if self.intermediates > most:
            raise ConfigError(
                f"space.intermediates={self.intermediates}: variant {self.settings.variant!r} "
                f"allocates {most}; give at most that, or variant: released for 11"
            )
        window = self.settings.window
        self.window = rules.window if window is None else window
        # Fewer intermediates thin the allocation out evenly, coarse and fine alike.
        self.base_levels = tuple(
            rules.levels[i * most // self.intermediates] for i in range(self.intermediates)
        )
        self.offsets = rules.offsets
        self.types: tuple[BlockType, ...] = ("inverted_residual",) if mobile else rules.types
        self.blocks = self.intermediates + len(OUTPUT_LEVELS)
        self.decisions = tuple(self._decisions())
        self._sizes = tuple(len(decision.choices) for decision in self.decisions)
        self._free = tuple((True,) * size for size in self._sizes)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Returns the inputs that the space's networks have: one."""
        return (Input(size=self.settings.deploy.input_size),)

    def _decisions(self) -> list[Decision]:
        labels = tuple(range(self.intermediates))
        decisions = [Decision(f"intermediate{i}", labels) for i in range(self.intermediates)]
        decisions += [Decision(f"output{i}", OUTPUT_LEVELS) for i in range(len(OUTPUT_LEVELS))]
        for i in range(self.blocks):
            if i < self.intermediates:
                decisions.append(Decision(f"offset{i}", self.offsets))
            decisions.append(Decision(f"type{i}", self.types))
            decisions.append(Decision(f"parents{i}", self.parent_pairs(i)))
        return decisions

    def parent_pairs(self, i: int) -> tuple[tuple[int, int], ...]:
        """Returns the pairs of parents that permuted block `i` may read; the stem has 0 and 1."""
        built = len(STEM_BLOCKS) + i
        first = 0
        if self.window and i < self.intermediates:
            first = max(0, built - self.window)
        return tuple(combinations(range(first, built), 2))

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the mask: all but a base block, or an output level, that is placed already."""
        place = len(prefix)
        if place < self.intermediates:
            placed = set(prefix)
        elif place < self.blocks:
            placed = set(prefix[self.intermediates :])
        else:
            return self._free[place]
        return tuple(i not in placed for i in range(len(self.decisions[place].choices)))

    def decode(self, code: Sequence[int]) -> Genome:
        """Returns the genome of a code, in the listing's order, with merges as explicit edges."""
        self._check_fast(code)
        return genome_from_listing(self._rows(code), self.settings.deploy)

    def _check_fast(self, code: Sequence[int]) -> None:
        """Checks as `check` does, but quickly: the masks only forbid repetition."""
        places = (code[: self.intermediates], code[self.intermediates : self.blocks])
        repeated = any(len(set(part)) != len(part) for part in places)
        inside = len(code) == len(self._sizes) and all(map(operator.lt, code, self._sizes))
        if repeated or not inside or min(code) < 0:
            self.check(code)

    def _rows(self, code: Sequence[int]) -> list[PermutedBlock]:
        chosen = [decision.choices[i] for decision, i in zip(self.decisions, code, strict=True)]
        own = iter(chosen[self.blocks :])
        rows = [
            PermutedBlock(self.base_levels[label] + next(own), next(own), next(own))
            for label in chosen[: self.intermediates]
        ]
        rows += [
            PermutedBlock(level, next(own), next(own), True)
            for level in chosen[self.intermediates : self.blocks]
        ]
        return rows

    def encode(self, candidate: Genome) -> Code:
        """Returns the first code in lexical order that decodes to this listing.

        Raises:
            GenomeError: names the block and the rule of the space that it breaks.
        """
        rows = self._listing(candidate)
        labels = self._labels([row.level for row in rows[: self.intermediates]])
        code = labels + [OUTPUT_LEVELS.index(row.level) for row in rows[self.intermediates :]]
        for i, row in enumerate(rows):
            if i < self.intermediates:
                code.append(self.offsets.index(row.level - self.base_levels[labels[i]]))
            code.append(self.types.index(row.type))
            pairs = self.parent_pairs(i)
            if row.parents not in pairs:
                raise GenomeError(
                    f"block {i + 2} reads {row.parents}; the space {self.settings.variant!r} "
                    f"allows two distinct blocks of {pairs[0][0]} to {i + 1}"
                )
            code.append(pairs.index(row.parents))
        return self._confirmed(tuple(code), candidate)

    def _confirmed(self, code: Code, candidate: Genome) -> Code:
        if self.decode(code).key != candidate.key:
            raise GenomeError(
                "the genome differs from this space's in its stem, scale, merges, neck, head or "
                "input; legal: what space.decode makes"
            )
        return code

    def _listing(self, genome: Genome) -> list[PermutedBlock]:
        """Reads the permuted blocks back as rows."""
        permuted = genome.blocks[len(genome.blocks) - self.blocks :]
        stem = [block.id for block in genome.blocks[: len(genome.blocks) - self.blocks]]
        if len(stem) < len(STEM_BLOCKS):
            raise GenomeError(f"{len(genome.blocks)} blocks; the space has {self.blocks} + stem")
        names = stem[-len(STEM_BLOCKS) :] + [block.id for block in permuted]
        places = {name: i for i, name in enumerate(names)}
        tapped = {tap.block for tap in genome.taps}
        rows = [self._row(block, places, block.id in tapped) for block in permuted]
        for i, row in enumerate(rows):
            if row.output != (i >= self.intermediates):
                raise GenomeError(
                    f"block {permuted[i].id!r}: the space lists {self.intermediates} intermediate "
                    "blocks first, then the five that are tapped"
                )
        if sorted(row.level for row in rows[self.intermediates :]) != list(OUTPUT_LEVELS):
            raise GenomeError(f"the space's outputs have the levels {list(OUTPUT_LEVELS)}")
        return rows

    def _row(self, block: Block, places: dict[str, int], output: bool) -> PermutedBlock:
        kind = next((kind for kind in self.types if kind == block.op.type), None)
        if kind is None:
            raise GenomeError(f"block {block.id!r} is a {block.op.type}; legal: {self.types}")
        edges = [edge for edge in block.inputs if edge.resample.changes]
        if len(edges) != 2 or any(edge.block not in places for edge in edges):
            raise GenomeError(f"block {block.id!r}: the space's blocks read two permuted or stem")
        first, second = sorted(places[edge.block] for edge in edges)
        return PermutedBlock(block.level, kind, (first, second), output)

    def _labels(self, levels: Sequence[int]) -> list[int]:
        """Returns the first permutation of base blocks from which offsets reach `levels`."""
        base = self.base_levels

        # Base blocks of one level are interchangeable, so of those left one a level is tried; and
        # a set of blocks that is left is tried once at each place.
        @cache
        def possible(place: int, left: tuple[int, ...]) -> bool:
            return place == len(levels) or any(
                levels[place] - base[label] in self.offsets
                and possible(place + 1, tuple(x for x in left if x != label))
                for label in {base[x]: x for x in reversed(left)}.values()
            )

        left = tuple(range(self.intermediates))
        labels: list[int] = []
        for place, level in enumerate(levels):
            for label in left:
                rest = tuple(x for x in left if x != label)
                if level - base[label] in self.offsets and possible(place + 1, rest):
                    labels.append(label)
                    left = rest
                    break
            else:
                raise GenomeError(
                    f"levels {list(levels)} of the intermediate blocks can't be reached from "
                    f"{list(base)} with offsets {list(self.offsets)}"
                )
        return labels

    def size(self) -> int:
        """Returns the number of codes: permutations × parent pairs × offsets × types."""
        size = math.factorial(self.intermediates) * math.factorial(len(OUTPUT_LEVELS))
        for decision in self.decisions[self.blocks :]:
            size *= len(decision.choices)
        return size

    def features(self, candidate: Genome) -> dict[str, float]:
        """Returns what describes a genome to a model of its reward; see `features.features`."""
        return features(candidate)

    def describe(self) -> dict[str, Any]:
        """Returns the settings, with defaults resolved."""
        described = self.settings.model_dump(mode="json")
        if self.settings.deploy.block == "resnet":
            del described["deploy"]["block"]  # runs that began without this setting go on
        return {**described, "intermediates": self.intermediates, "window": self.window}
