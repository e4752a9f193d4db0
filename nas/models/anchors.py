"""Anchor boxes, from the genome's parts and the sizes of the maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nas.genome import Shape
from nas.genome.parts import DefaultBoxes, OctaveAnchors


def octave_anchors(anchors: Sequence[OctaveAnchors], maps: Sequence[Shape]) -> Tensor:
    """Lays out all anchors of all maps.

    Returns:
        `(sum of A · S², 4)` as x1, y1, x2, y2 in pixels of the input; by level, row, column,
        then as `OctaveAnchors.sides` orders them. Centres lie half a stride into each cell.
    """
    levels = []
    for part, shape in zip(anchors, maps, strict=True):
        stride = 2**shape.level
        centres = (torch.arange(shape.size, dtype=torch.float32) + 0.5) * stride
        levels.append(_placed(centres, torch.tensor(part.sides(shape.level))))
    return torch.cat(levels)


def default_sides(part: DefaultBoxes) -> Tensor:
    """Returns width and height of each default box at one place, `(A, 2)` shares of the input."""
    sides = [(square, square) for square in part.square_scales]
    for ratio in part.ratios:
        long, short = part.scale * math.sqrt(ratio), part.scale / math.sqrt(ratio)
        sides += [(long, short), (short, long)]
    boxes = torch.tensor(sides)
    return boxes.clamp(max=1.0) if part.clip else boxes


def default_boxes(parts: Sequence[DefaultBoxes], maps: Sequence[Shape], image_size: int) -> Tensor:
    """Lays out all of SSD's default boxes of all maps.

    Args:
        parts: one a map.
        maps: shapes of the maps.
        image_size: side of the input in pixels.

    Returns:
        `(sum of A · S², 4)` as x1, y1, x2, y2 in pixels of the input; by level, row, column,
        then as `default_sides` orders them. Only sides are clipped, so a box may leave the
        picture.
    """
    levels = []
    for part, shape in zip(parts, maps, strict=True):
        cells = shape.size if part.step is None else image_size / part.step
        centres = (torch.arange(shape.size, dtype=torch.float32) + 0.5) / cells
        levels.append(_placed(centres, default_sides(part)))
    return torch.cat(levels) * image_size


def _placed(centres: Tensor, sides: Tensor) -> Tensor:
    """Places boxes with `sides` `(A, 2)` at every cell, `(A · S², 4)`; `centres` are of a row."""
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    centre = torch.stack([x, y], dim=-1)[:, :, None, :]
    half = sides / 2
    return torch.cat([centre - half, centre + half], dim=-1).reshape(-1, 4)
