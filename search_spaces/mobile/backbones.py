"""Published backbones as torchvision has them, so that its ImageNet weights fit their rows.

Row *i* is `features[i]` of torchvision's model. Source: torchvision, models/mobilenetv2.py and
models/mobilenetv3.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from nas.errors import GenomeError
from nas.genome.blocks import Block
from nas.genome.parts import SqueezeExcite
from nas.space import Code, Decision
from search_spaces.mobile.listing import BlockStyle, ChainBlock, LayerSpec, stage
from search_spaces.mobile.zoo import ibn, mobilenetv2_rows, mobilenetv3_large_rows, stem

BackboneName = Literal["mobilenetv2-1.0", "mobilenetv3-large", "mobilenetv3-small"]
NAMES: tuple[BackboneName, ...] = get_args(BackboneName)


class Backbone(NamedTuple):
    """Rows from the stem on, and the settings that its weights were trained with."""

    rows: tuple[ChainBlock, ...]
    deploy: dict[str, Any]


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
}


class FixedBackbone:
    """A published backbone, of which only the truncation is decided: `last` is its last row.

    The last row of stride 16 and each one behind it may be the last.
    """

    def __init__(self, name: BackboneName) -> None:
        self.name, self.whole = name, BACKBONES[name].rows
        level, levels = 0, []
        for row in self.whole:
            level += row.stride == 2
            levels.append(level)
        self._end = max(i for i, level in enumerate(levels) if level == 4)
        self.decisions = (Decision("last", tuple(range(self._end, len(self.whole)))),)

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the mask over the choices: all are legal."""
        return (True,) * len(self.decisions[0].choices)

    def rows(self, code: Sequence[int]) -> tuple[ChainBlock, ...]:
        """Returns the chain, up to its last row."""
        return self.whole[: self._end + code[0] + 1]

    def reaches_32(self, code: Sequence[int]) -> bool:
        """Tells whether the chain has maps of stride 32."""
        return code[0] > 0

    def encode(self, blocks: Sequence[Block]) -> Code:
        """Returns the code of a chain, which is its length.

        Raises:
            GenomeError: if it is too short, or too long.
        """
        shortest, longest = self._end + 1, len(self.whole)
        if not shortest <= len(blocks) <= longest:
            raise GenomeError(
                f"the chain has {len(blocks)} blocks; {self.name} has {longest}, of which "
                f"{shortest} at least are left"
            )
        return (len(blocks) - shortest,)

    def sizes(self) -> tuple[int, int]:
        """Returns how many codes reach stride 32, and how many don't."""
        return len(self.whole) - self._end - 1, 1
