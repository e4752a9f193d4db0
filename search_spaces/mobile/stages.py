"""The searched backbone of a mobile detector: MobileDets' seven stages, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from nas.errors import GenomeError
from nas.genome.blocks import Block
from nas.genome.memo import Memo, remembered
from nas.space import Code, Decision
from search_spaces.mobile.layers import (
    FIRST_LAYERS,
    LAYERS,
    MULTIPLIERS,
    SPACE,
    Activations,
    Variant,
    channels,
    distinct,
    layer_mask,
    layer_of,
    layer_text,
    multiplier_index,
    style,
    width_mask,
)
from search_spaces.mobile.listing import ChainBlock, LayerSpec, stage

STAGES = len(SPACE.widths)
ALWAYS = 5
"""Stages that are never left out: stride 16, which every head reads, ends with the fifth."""

_NAMES: tuple[Activations, ...] = get_args(Activations)


class StagePositions(NamedTuple):
    """Positions of a stage's decisions in a code; stage 1 has none on its depth."""

    depth: int | None
    width: int
    layers: range
    excite: int


class SearchedBackbone:
    """Decisions in the network's order: activation, stem, then stage by stage.

    A stage's depth comes first, since layers beyond it can only be None, and so can all of a stage
    of depth 0. Stages 6 and 7 may have depth 0: that truncates the backbone. Squeeze-excite
    comes last, since a stage of Tucker blocks has none. Of two choices that give the same
    network (16 × 0.5 and 16 × 0.625 are 8 channels) the first alone is legal.

    Activation is one choice for the network and squeeze-excite one a stage, as published networks
    differ: MobileDets keep to one activation, MobileNetV3 to ReLU where maps are large and
    hard-swish from stride 16 on (`mixed`); squeeze-excite MobileNetV3 has in some stages only.
    """

    def __init__(self, variant: Variant) -> None:
        self.layers, self.first = LAYERS[variant], FIRST_LAYERS[variant]
        self.places: list[StagePositions] = []
        self.decisions = tuple(self._decisions())
        self._stage_of = [-1, -1]  # of each decision
        for index, place in enumerate(self.places):
            self._stage_of += [index] * (place.excite + 1 - len(self._stage_of))
        self._masks: Memo[tuple[bool, int, int], tuple[bool, ...]] = Memo()
        sizes = {len(decision.choices) for decision in self.decisions}
        self._none = {size: (True, *(False,) * (size - 1)) for size in sizes}

    def _decisions(self) -> Iterator[Decision]:
        yield Decision("activation", _NAMES)
        yield Decision("stem", MULTIPLIERS)
        at = 2
        for number in range(1, STAGES + 1):
            first, last = number == 1, number == STAGES
            if not first:
                yield Decision(f"depth{number}", tuple(range(SPACE.depth + 1)))
            yield Decision(f"width{number}", MULTIPLIERS)
            count = 1 if first or last else SPACE.depth
            for i in range(1, count + 1):
                layers = self.first if first else self.layers
                yield Decision(f"layer{number}.{i}", (None, *layers))
            yield Decision(f"squeeze_excite{number}", (False, True))
            width = at + (not first)
            place = StagePositions(
                None if first else at, width, range(width + 1, width + 1 + count), 0
            )
            self.places.append(place._replace(excite=place.layers.stop))
            at = place.layers.stop + 1

    # --- masks ------------------------------------------------------------------------------------

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the mask over the choices of the decision that follows a legal prefix."""
        at = len(prefix)
        index = self._stage_of[at]
        if index < 0:
            return width_mask(SPACE.stem) if at else (True,) * len(_NAMES)
        place = self.places[index]
        if at == place.depth:
            return self._depths(index, prefix)
        depth = self._depth(index, prefix)
        if not depth or place.layers.start + depth <= at < place.excite:
            return self._none[len(self.decisions[at].choices)]
        if at == place.excite:
            layers = [self.decisions[i].choices[prefix[i]] for i in place.layers[:depth]]
            return True, not all(layer.narrows for layer in layers)
        if at == place.width:
            return width_mask(SPACE.widths[index])
        width = self._width(index, prefix)
        source = self._before(index, prefix) if at == place.layers.start else width
        return self._layer_mask(index == 0, source, width)

    def _depths(self, index: int, prefix: Sequence[int]) -> tuple[bool, ...]:
        least, most = int(index < ALWAYS), len(self.places[index].layers)
        if index > ALWAYS and not self._depth(index - 1, prefix):
            most = 0
        return tuple([least <= depth <= most for depth in range(SPACE.depth + 1)])

    def _layer_mask(self, first: bool, source: int, width: int) -> tuple[bool, ...]:
        key = (first, source, width)
        choices = self.first if first else self.layers
        return self._masks.get(key) or self._masks.keep(
            key, layer_mask((None, *choices), source, width)
        )

    def _depth(self, index: int, code: Sequence[int]) -> int:
        """Returns the number of layers of a stage, stage 1 being index 0."""
        at = self.places[index].depth
        return 1 if at is None else code[at]

    def _width(self, index: int, code: Sequence[int]) -> int:
        return channels(SPACE.widths[index], code[self.places[index].width])

    def _before(self, index: int, code: Sequence[int]) -> int:
        """Returns the channels that a stage reads."""
        return self._width(index - 1, code) if index else channels(SPACE.stem, code[1])

    # --- from a code and back ---------------------------------------------------------------------

    def rows(self, code: Sequence[int]) -> tuple[ChainBlock, ...]:
        """Returns the chain of a complete legal code."""
        rows = _stem(channels(SPACE.stem, code[1]), _NAMES[code[0]])
        for index, place in enumerate(self.places):
            depth = self._depth(index, code)
            if depth:
                choices = [self.decisions[i].choices[code[i]] for i in place.layers[:depth]]
                width, excite = self._width(index, code), bool(code[place.excite])
                rows += _stage(index, width, tuple(choices), _NAMES[code[0]], excite)
        return rows

    def reaches_32(self, code: Sequence[int]) -> bool:
        """Tells whether the chain has maps of stride 32."""
        return self._depth(ALWAYS, code) > 0

    def encode(self, blocks: Sequence[Block]) -> Code:
        """Returns the code of a chain of blocks, as far as it can be read off them.

        Raises:
            GenomeError: names the block, and what the space has in its place.
        """
        stages = _stages(blocks[1:])
        if not ALWAYS <= len(stages) <= STAGES:
            raise GenomeError(
                f"the chain has {len(stages)} stages, each beginning with a block that has no "
                f"shortcut; the space has {ALWAYS} to {STAGES}"
            )
        code = [_activations(blocks[0], stages[-1][0]), multiplier_index(blocks[0], SPACE.stem)]
        for index, place in enumerate(self.places):
            code += self._encode_stage(index, place, stages[index] if index < len(stages) else [])
        return tuple(code)

    def _encode_stage(
        self, index: int, place: StagePositions, blocks: Sequence[Block]
    ) -> list[int]:
        most = len(place.layers)
        if len(blocks) > most:
            raise GenomeError(
                f"block {blocks[most].id!r} is layer {most + 1} of stage {index + 1}; the space "
                f"has {most} there"
            )
        code = [] if place.depth is None else [len(blocks)]
        code.append(multiplier_index(blocks[0], SPACE.widths[index]) if blocks else 0)
        choices = self.decisions[place.layers.start].choices
        for block in blocks:
            layer = layer_of(block)
            if layer is None or layer not in choices:
                actual = block.op.type if layer is None else layer_text(layer)
                legal = ", ".join(map(layer_text, choices[1:]))
                raise GenomeError(f"block {block.id!r} is {actual}; legal: {legal}")
            code.append(choices.index(layer))
        excite = any(getattr(block.op, "squeeze_excite", None) for block in blocks)
        return [*code, *[0] * (most - len(blocks)), int(excite)]

    # --- counts -----------------------------------------------------------------------------------

    def sizes(self) -> tuple[int, int]:
        """Returns how many legal codes reach stride 32, and how many don't."""
        chains = self._chains()
        whole = sum(sum(chain.values()) for chain in chains[ALWAYS:])
        return len(_NAMES) * whole, len(_NAMES) * sum(chains[ALWAYS - 1].values())

    def _chains(self) -> list[dict[int, int]]:
        """Returns for each stage how many codes end with it, by the channels that it gives."""
        # A dynamic programme along the network: how many choices a stage's layers have depends on
        # the channels that it reads and gives, and on nothing else before it.
        before, chains = dict.fromkeys(distinct(SPACE.stem), 1), []
        for index, base in enumerate(SPACE.widths):
            before = {
                width: sum(n * self._codes(index, source, width) for source, n in before.items())
                for width in distinct(base)
            }
            chains.append(before)
        return chains

    def _codes(self, index: int, source: int, width: int) -> int:
        """Returns how many codes a stage's layers and squeeze-excite have, of any depth but 0."""
        place = self.places[index]
        choices = self.decisions[place.layers.start].choices
        head = self._layer_mask(index == 0, source, width)
        body = self._layer_mask(index == 0, width, width)
        plain = [layer is not None and layer.narrows for layer in choices]
        first, later = sum(head), sum(body)
        first_plain = sum(a and b for a, b in zip(head, plain, strict=True))
        later_plain = sum(a and b for a, b in zip(body, plain, strict=True))
        # Of a stage of 1 + more layers there are first · later^more. Squeeze-excite, on or off,
        # doubles them; a stage of Tucker blocks alone has none, so those count once.
        return sum(
            2 * first * later**more - first_plain * later_plain**more
            for more in range(len(place.layers))
        )


@remembered
def _stem(width: int, activations: Activations) -> tuple[ChainBlock, ...]:
    return (ChainBlock(LayerSpec("conv"), width, stride=2, style=style(activations, False, False)),)


@remembered
def _stage(
    index: int, width: int, layers: tuple[LayerSpec, ...], activations: Activations, excite: bool
) -> tuple[ChainBlock, ...]:
    level = 1 + sum(stride == 2 for stride in SPACE.strides[: index + 1])
    return stage(layers, width, SPACE.strides[index], style(activations, level >= 4, excite))


def _stages(blocks: Sequence[Block]) -> list[list[Block]]:
    """Returns the blocks by stage; the first of each stage is the one without a shortcut."""
    stages: list[list[Block]] = []
    for block in blocks:
        if not stages or not getattr(block.op, "shortcut", False):
            stages.append([])
        stages[-1].append(block)
    return stages


def _activations(stem: Block, last: Block) -> int:
    """Returns the index of the network's activations: those of the stem and of the last stage."""
    pair = tuple(getattr(block.op, "activation", "none") for block in (stem, last))
    pairs = [(style(name, False, False)[0], style(name, True, False)[0]) for name in _NAMES]
    if pair not in pairs:
        legal = "; ".join(map(" and ".join, pairs))
        raise GenomeError(f"stem and last stage activate by {' and '.join(pair)}; legal: {legal}")
    return pairs.index(pair)
