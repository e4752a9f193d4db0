"""Published backbones, listed so that their ImageNet weights fit row by row.

Row *i* of a MobileNet is `features[i]` of torchvision's model. Sources: torchvision,
models/mobilenetv2.py and models/mobilenetv3.py; `search_spaces.mobile.efficientnet_lite`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from nas.errors import GenomeError
from nas.genome.blocks import Block
from nas.genome.parts import Operation, SqueezeExcite
from nas.space import Code, Decision
from search_spaces.mobile.efficientnet_lite import DEPLOYED, efficientnet_lite_rows
from search_spaces.mobile.listing import (
    BlockStyle,
    ChainBlock,
    LayerSpec,
    operation_of,
    stage,
)
from search_spaces.mobile.zoo import ibn, mobilenetv2_rows, mobilenetv3_large_rows, stem

BackboneName = Literal[
    "mobilenetv2-1.0",
    "mobilenetv3-large",
    "mobilenetv3-small",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
]
NAMES: tuple[BackboneName, ...] = get_args(BackboneName)


class Backbone(NamedTuple):
    """A published backbone.

    Attributes:
        rows: from the stem on.
        deploy: the settings that its weights were trained with.
        cut_within_16: whether it may end anywhere from stride 16 on, not only with the last row of
            that stride or behind it.
    """

    rows: tuple[ChainBlock, ...]
    deploy: dict[str, Any]
    cut_within_16: bool = False

    def lasts(self) -> range:
        """Returns the rows that may be the last one."""
        levels = self.levels()
        at_16 = [row for row, level in enumerate(levels) if level == 4]
        return range(at_16[0] if self.cut_within_16 else at_16[-1], len(levels))

    def levels(self) -> list[int]:
        """Returns log2 of the stride of each row's map."""
        return list(itertools.accumulate(row.stride // 2 for row in self.rows))


def mobilenetv3_small_rows() -> tuple[ChainBlock, ...]:
    """Returns MobileNetV3-Small up to its last 1×1."""
    plain, hard, excite = BlockStyle("relu"), BlockStyle("hard_swish"), SqueezeExcite()
    plain_excited, hard_excited = BlockStyle("relu", excite), BlockStyle("hard_swish", excite)
    return (
        stem(16, hard),
        ChainBlock(ibn(1), 16, 2, style=plain_excited),
        *stage((ibn(72 / 16), ibn(88 / 24)), 24, 2, plain),
        *stage((ibn(4, 5), ibn(6, 5), ibn(6, 5)), 40, 2, hard_excited),
        *stage((ibn(3, 5), ibn(3, 5)), 48, 1, hard_excited),
        *stage((ibn(6, 5),) * 3, 96, 2, hard_excited),
        ChainBlock(LayerSpec("conv", 1), 576, style=hard),
    )


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_V3 = {**_IMAGENET, "eps": 1e-3, "momentum": 0.01}

BACKBONES: dict[BackboneName, Backbone] = {
    "mobilenetv2-1.0": Backbone(mobilenetv2_rows(1.0), {**_IMAGENET, "eps": 1e-5, "momentum": 0.1}),
    "mobilenetv3-large": Backbone(mobilenetv3_large_rows(160), _V3),
    "mobilenetv3-small": Backbone(mobilenetv3_small_rows(), _V3),
    "efficientnet-lite0": Backbone(efficientnet_lite_rows("efficientnet-lite0"), DEPLOYED, True),
    "efficientnet-lite1": Backbone(efficientnet_lite_rows("efficientnet-lite1"), DEPLOYED, True),
    "efficientnet-lite2": Backbone(efficientnet_lite_rows("efficientnet-lite2"), DEPLOYED, True),
}


def backbone_of(
    blocks: Sequence[Block], names: Sequence[BackboneName] = NAMES
) -> BackboneName | None:
    """Returns which published backbone a chain of blocks begins as, or None.

    It compares types, kernels, strides and widths; a chain that ends before stride 16 is none.
    """
    outline = [_outline(block.op) for block in blocks]
    for name in names:
        whole = BACKBONES[name]
        rows = whole.rows[: len(outline)]
        published = [_outline(operation_of(row)) for row in rows]
        if len(rows) - 1 in whole.lasts() and published == outline:
            return name
    return None


def _outline(op: Operation) -> tuple[object, ...]:
    return tuple(getattr(op, name, None) for name in ("type", "kernel", "stride", "width"))


class FixedBackbone:
    """Published backbones, one of which is chosen and truncated.

    The decision `backbone` is there where they are several. Then `last` is the last row.

    Args:
        names: of backbones whose weights were trained with the same settings.
    """

    def __init__(self, *names: BackboneName) -> None:
        self.names = names
        self._lasts = [BACKBONES[name].lasts() for name in names]
        self._levels = [BACKBONES[name].levels() for name in names]
        choices = range(min(r.start for r in self._lasts), max(r.stop for r in self._lasts))
        last = Decision("last", tuple(choices))
        self.decisions = (Decision("backbone", names), last) if len(names) > 1 else (last,)
        self._masks = [tuple(row in lasts for row in last.choices) for lasts in self._lasts]

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the mask: all backbones, then those last rows that the chosen one may have."""
        if len(prefix) < len(self.decisions) - 1:
            return (True,) * len(self.names)
        return self._masks[prefix[0] if prefix else 0]

    def rows(self, code: Sequence[int]) -> tuple[ChainBlock, ...]:
        """Returns the chain, up to its last row."""
        index, last = self._chosen(code)
        return BACKBONES[self.names[index]].rows[: last + 1]

    def reaches_32(self, code: Sequence[int]) -> bool:
        """Tells whether the chain has maps of stride 32."""
        index, last = self._chosen(code)
        return self._levels[index][last] > 4

    def _chosen(self, code: Sequence[int]) -> tuple[int, int]:
        """Returns a code's backbone, as its place among the names, and its last row."""
        return code[0] if len(self.names) > 1 else 0, self.decisions[-1].choices[code[-1]]

    def encode(self, blocks: Sequence[Block]) -> Code:
        """Returns the code of a chain, which is its length; of several backbones, which it is.

        Raises:
            GenomeError: if it is too short, too long, or none of several.
        """
        index = 0
        if len(self.names) > 1:
            name = backbone_of(blocks, self.names)
            if name is None:
                raise GenomeError(f"the chain is none of {', '.join(self.names)}, cut or whole")
            index = self.names.index(name)
        lasts = self._lasts[index]
        if len(blocks) - 1 not in lasts:
            raise GenomeError(
                f"the chain has {len(blocks)} blocks; {self.names[index]} has {lasts.stop}, of "
                f"which {lasts.start + 1} at least are left"
            )
        last = self.decisions[-1].choices.index(len(blocks) - 1)
        return (index, last) if len(self.names) > 1 else (last,)

    def sizes(self) -> tuple[int, int]:
        """Returns how many codes reach stride 32, and how many don't."""
        levels = [
            levels[last]
            for levels, lasts in zip(self._levels, self._lasts, strict=True)
            for last in lasts
        ]
        reach = sum(level > 4 for level in levels)
        return reach, len(levels) - reach
