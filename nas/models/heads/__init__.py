"""Heads: one file per type of the schema; ``base`` says what they have in common."""

from __future__ import annotations

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.models.heads.base import Head
from nas.models.registry import HEADS, module_class


def build_head(unit: Unit, num_classes: int, norm: BatchNorm, image_size: int) -> Head:
    """The module of the unit of kind ``head``, for pictures of ``image_size`` pixels."""
    make = module_class(HEADS, unit.part, "head")
    head: Head = make(unit.part, unit, num_classes, norm, image_size)
    return head
