"""Heads: one file per type of the schema.

A head has ``forward`` (maps to raw outputs), ``loss_terms``, ``decode`` (raw outputs to
detections) and ``for_inference`` (the head without what only training needs).
"""

from __future__ import annotations

from nas.errors import GenomeError
from nas.genome import Unit
from nas.genome.heads import RetinaNetHead
from nas.genome.network import BatchNorm
from nas.models.heads.retinanet import RetinaNet


def build_head(unit: Unit, num_classes: int, norm: BatchNorm, image_size: int) -> RetinaNet:
    """The module of the unit of kind ``head``, for pictures of ``image_size`` pixels."""
    if isinstance(unit.part, RetinaNetHead):
        return RetinaNet(unit, unit.part, num_classes, norm, image_size)
    kind = getattr(unit.part, "type", unit.kind)
    raise GenomeError(f"no model for a head of type {kind!r}; legal to build: retinanet")
