"""Heads: a file for each type; `base` is their contract, `anchor_head` what dense anchors share."""

from __future__ import annotations

from typing import Any

from nas.genome import Unit
from nas.genome.network import BatchNorm
from nas.models.heads.base import Head
from nas.models.registry import HEADS, module_class


def build_head(unit: Unit, num_classes: int, norm: BatchNorm, image_size: int) -> Head[Any]:
    """Builds the module of the unit of kind `head`, for images of `image_size` pixels."""
    make = module_class(HEADS, unit.part, "head")
    head: Head[Any] = make(unit.part, unit, num_classes, norm, image_size)
    return head
