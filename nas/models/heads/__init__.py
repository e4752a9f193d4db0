"""Heads: one file per type of the schema; ``base`` says what they have in common."""

from __future__ import annotations

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.heads import RetinaNetHead, SSDHead
from nas.genome.network import BatchNorm
from nas.models.heads.retinanet import RetinaNet
from nas.models.heads.ssd import SSD


def build_head(unit: Unit, num_classes: int, norm: BatchNorm, image_size: int) -> RetinaNet | SSD:
    """The module of the unit of kind ``head``, for pictures of ``image_size`` pixels."""
    if isinstance(unit.part, RetinaNetHead):
        return RetinaNet(unit, unit.part, num_classes, norm, image_size)
    if isinstance(unit.part, SSDHead):
        return SSD(unit, unit.part, num_classes, norm, image_size)
    kind = getattr(unit.part, "type", unit.kind)
    raise GenomeError(f"no model for a head of type {kind!r}; legal to build: retinanet, ssd")
