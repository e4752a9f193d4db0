"""What the schema can say and no module is built for: refused where it is counted and where built.

Such a genome is legal, has a key and can be drawn; nothing may count it as if it were another.
"""

from __future__ import annotations

from nas.errors import GenomeError
from nas.genome.anchors import DefaultBoxes, OctaveAnchors
from nas.genome.heads import MimicDetHead, RetinaNetHead, SSDHead
from nas.genome.necks import L2Norm
from nas.genome.operations import Conv
from nas.genome.units import Unit


def check_buildable(unit: Unit) -> None:
    """Refuses a unit that no module is built for yet.

    Args:
        unit: from ``plan`` or ``lower``.

    Raises:
        GenomeError: names the block or part, the field, and what would be legal.
    """
    part = unit.part
    if isinstance(part, Conv):
        _check_conv(unit, part)
    elif isinstance(part, L2Norm):
        raise GenomeError(
            f"{unit.name}: no model yet for transform l2_norm; legal to build: pool, or none"
        )
    elif isinstance(part, SSDHead):
        _check_ssd(part)
    elif isinstance(part, RetinaNetHead):
        if not all(isinstance(anchors, OctaveAnchors) for anchors in part.anchors):
            raise GenomeError(
                "head retinanet: no model for default boxes; legal to build: octave anchors"
            )
    elif isinstance(part, MimicDetHead):
        raise GenomeError(
            "head mimicdet: no model yet for this head; legal to build: retinanet, ssd"
        )


def _check_conv(unit: Unit, op: Conv) -> None:
    if op.precision != "real" or op.shortcut != "none":
        block = unit.block.id if unit.block else unit.name
        raise GenomeError(
            f"block {block!r}: no model yet for a {op.precision} conv with shortcut "
            f"{op.shortcut!r}; legal to build: precision 'real' with shortcut 'none'"
        )


def _check_ssd(head: SSDHead) -> None:
    if not all(isinstance(anchors, DefaultBoxes) for anchors in head.anchors):
        raise GenomeError("head ssd: no model for octave anchors; legal to build: default_boxes")
    if head.box_values != 4:
        raise GenomeError(
            f"head ssd: no model yet for box_values {head.box_values}, which predict a variance "
            "too; legal to build: 4"
        )
    if head.kernel % 2 == 0:
        raise GenomeError(
            f"head ssd: kernel {head.kernel} would change the maps' size; legal: an odd one"
        )
