"""From a backbone to the maps that the head reads: taps, neck, extra blocks and default boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from nas.errors import GenomeError
from nas.genome import Genome
from nas.genome.blocks import Block
from nas.genome.memo import remembered
from nas.genome.parts import RFCR, DefaultBoxes, InvertedResidual, SSDHead
from nas.settings import Settings
from nas.space import Code, Decision
from search_spaces.mobile.listing import (
    EXTRAS,
    ChainBlock,
    Point,
    Tapped,
    default_boxes,
    ssdlite_head,
)

COLLECTS = (16, 32, 48)
"""Channels that RFCR collects from each map; it fuses to twice as many.

YOLO-ReT has 48 and 96 (prakharg24/yoloret, code/yolo3/model.py).
"""


class BoxSettings(Settings):
    """Default boxes; the defaults are torchvision's for SSDlite.

    Attributes:
        smallest, largest: scale on the map of stride 16 and on the last one, as a share of the
            input's side. A map of stride 8 has half of `smallest`, as SSD's conv4_3 has.
        three_on_first: TensorFlow's three boxes a place on the first map, not six.
        clip: whether a box's sides end at the picture's.
    """

    smallest: float = Field(default=0.2, gt=0, lt=1)
    largest: float = Field(default=0.95, gt=0, le=1)
    three_on_first: bool = False
    clip: bool = True

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.smallest >= self.largest:
            raise ValueError(f"smallest {self.smallest} isn't below largest {self.largest}")
        return self


class Maps(NamedTuple):
    """The choices of one code.

    Attributes:
        finest: stride of the finest map.
        collect: RFCR's channels; None for no neck.
        extras: number of SSDlite's extra blocks; 0 with RFCR.
        extra_width: factor on their widths; None without them.
    """

    finest: int
    collect: int | None
    extras: int
    extra_width: float | None


class MapDecisions:
    """Decisions that come after any backbone.

    Without a neck the head reads the backbone's last maps and those of extra blocks, as SSDlite
    does. An RFCR neck gives it the backbone's maps alone, as YOLO-ReT's does, and reads the map
    of stride 4 too; a backbone that ends at stride 16 can't have it.

    Args:
        point: where a map is tapped that isn't the last: `out`, the last block of its stride,
            as MobileDets have it; or `expand`, the expansion in the block behind that one, as
            SSDlite on MobileNets has it. RFCR reads outputs.
        boxes: the default boxes.
    """

    decisions = (
        Decision("finest", (16, 8)),
        Decision("rfcr", (None, *COLLECTS)),
        Decision("extras", (0, 2, 3, 4)),
        Decision("extra_width", (None, 0.25, 0.5, 1.0)),
    )

    def __init__(self, point: Point, boxes: BoxSettings) -> None:
        self.point, self.boxes = point, boxes

    def legal(self, prefix: Sequence[int], reaches_32: bool) -> tuple[bool, ...]:
        """Returns the mask over the choices of the decision that follows a legal prefix.

        Args:
            prefix: choices among these decisions.
            reaches_32: whether the backbone has a map of stride 32.
        """
        if not prefix:
            return True, True
        if len(prefix) == 1:
            return True, *(reaches_32 for _ in COLLECTS)
        extras = prefix[1] == 0
        return not extras, *(extras for _ in self.decisions[len(prefix)].choices[1:])

    def sizes(self) -> tuple[int, int]:
        """Returns how many codes follow a backbone that reaches stride 32, and one that doesn't."""
        finest, necks, extras, widths = (len(decision.choices) for decision in self.decisions)
        plain = finest * (extras - 1) * (widths - 1)
        return plain + finest * (necks - 1), plain

    def parts(self, code: Sequence[int], rows: Sequence[ChainBlock]) -> dict[str, Any]:
        """Returns what `genome_from_listing` takes besides the rows."""
        maps = Maps(
            *[decision.choices[i] for decision, i in zip(self.decisions, code, strict=True)]
        )
        fine = maps.finest == 8
        if maps.collect is None:
            taps = _taps(rows, self.point)[2 - fine :]
            extras = tuple(
                [int(width * (maps.extra_width or 0)) for width in EXTRAS[: maps.extras]]
            )
            head = _head(len(taps) + len(extras), fine, self.boxes)
            return {"taps": taps, "extras": extras, "head": head}
        stride_4, *others = _taps(rows, "out")
        head = _head(2 + fine, fine, self.boxes)
        neck = _rfcr(maps.collect, fine)
        return {"taps": (*others, stride_4._replace(pool=4)), "neck": neck, "head": head}

    def encode(self, genome: Genome, reaches_32: bool) -> Code:
        """Returns the code of taps, neck and extra blocks, as far as it can be read off them.

        Raises:
            GenomeError: names the decision, what it is, and what would be legal.
        """
        neck, extras = genome.neck, [block for block in genome.blocks if is_extra(block)]
        if isinstance(neck, RFCR):
            maps = Maps(8 if len(neck.outputs) == 3 else 16, neck.collect, 0, None)
        else:
            fine = len(genome.taps) - len(extras) > 1 + reaches_32
            width = extras[0].op.width / EXTRAS[0] if extras else None
            maps = Maps(8 if fine else 16, None, len(extras), width)
        return tuple(
            _index(decision, value) for decision, value in zip(self.decisions, maps, strict=True)
        )


def is_extra(block: Block) -> bool:
    """Tells whether a block is one of SSDlite's extra ones: they activate their projection."""
    return isinstance(block.op, InvertedResidual) and block.op.project_activation != "none"


def _index(decision: Decision, value: object) -> int:
    if value not in decision.choices:
        raise GenomeError(f"{decision.name} is {value}; the space has {decision.choices}")
    return decision.choices.index(value)


def _taps(rows: Sequence[ChainBlock], point: Point) -> tuple[Tapped, ...]:
    """Returns the last map of each stride from 4 on."""
    strided = [i for i, row in enumerate(rows) if row.stride == 2]
    taps = [Tapped(i if point == "expand" else i - 1, point) for i in strided[2:]]
    return *taps, Tapped(len(rows) - 1)


@remembered
def _rfcr(collect: int, fine: bool) -> RFCR:
    """Returns the neck that reads maps of strides 8, 16, 32 and 4, and gives back the first three.

    Where the finest map has stride 16, it gives back those of strides 16 and 32 alone.
    """
    return RFCR(collect=collect, fuse=2 * collect, target=1, outputs=(0, 1, 2) if fine else (1, 2))


@remembered
def _head(maps: int, fine: bool, boxes: BoxSettings) -> SSDHead:
    """Returns a head for `maps` maps; the first has stride 8 if they are `fine`."""
    first = boxes.three_on_first
    if not fine:
        scales = boxes.smallest, boxes.largest
        return ssdlite_head(default_boxes(maps, *scales, three_on_first=first, clip=boxes.clip))
    rest = default_boxes(maps - 1, boxes.smallest, boxes.largest, clip=boxes.clip)
    half = boxes.smallest / 2
    finest = DefaultBoxes(scale=half, next_scale=boxes.smallest, clip=boxes.clip)
    if first:
        finest = finest.replace(ratios=(2.0,), squares=(half / 2,))
    return ssdlite_head((finest, *rest))
