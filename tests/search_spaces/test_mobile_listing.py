"""From rows to genomes: chains, taps, extra blocks, default boxes."""

from __future__ import annotations

import itertools
import math

import pytest

from nas.errors import GenomeError
from nas.genome.parts import DefaultBoxes
from nas.genome.plan import lower
from search_spaces.mobile.listing import (
    BlockStyle,
    ChainBlock,
    LayerSpec,
    MobileDeploySettings,
    Tapped,
    default_boxes,
    genome_from_listing,
    ssdlite_head,
    stage,
)

IBN, TUCKER = LayerSpec("inverted_residual", 5, 4.0), LayerSpec("tucker", 3, ratios=(0.25, 0.75))
ROWS = (
    ChainBlock(LayerSpec("conv"), 16, stride=2),
    *stage((IBN, TUCKER), 24, stride=2),
    *stage((IBN, LayerSpec("fused_inverted_residual", 3, 8.0)), 40, stride=2),
)


def boxes(parts: tuple[DefaultBoxes, ...]) -> list[tuple[float, float]]:
    return [(part.scale, part.next_scale) for part in parts]


def test_scales_are_torchvision_s() -> None:
    """torchvision, anchor_utils.py, with min_ratio 0.2 and max_ratio 0.95."""
    six = default_boxes(6)
    scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    assert boxes(six) == list(itertools.pairwise(scales))
    assert all(part.ratios == (2.0, 3.0) and part.clip and part.count == 6 for part in six)
    assert boxes(default_boxes(1)) == [(0.2, 1.0)]


def test_tensorflow_has_three_boxes_on_the_first_map() -> None:
    """(0.1, 1.0), (0.2, 2.0), (0.2, 0.5); 2,034 boxes at 320 px and not 3,234."""
    six = default_boxes(6, three_on_first=True, clip=False)
    assert six[0].square_scales == (0.1,) and six[0].ratios == (2.0,)
    assert six[1].square_scales == (0.35, math.sqrt(0.35 * 0.5))
    cells = [side**2 for side in (20, 10, 5, 3, 2, 1)]
    counts = [part.count for part in six]
    assert counts == [3, 6, 6, 6, 6, 6]
    assert sum(a * b for a, b in zip(counts, cells, strict=True)) == 2034


def test_a_chain_has_levels_widths_and_shortcuts() -> None:
    taps = (Tapped(3, "expand"), Tapped(4), Tapped(2, pool=4))
    genome = genome_from_listing(ROWS, taps, ssdlite_head(default_boxes(5)), extras=(64, 32))
    units = [unit for unit in lower(genome) if unit.kind == "block"]
    assert [unit.outs[0] for unit in units] == [
        *((16, 160, 1), (24, 80, 2), (24, 80, 2), (40, 40, 3), (40, 40, 3)),
        *((64, 20, 4), (32, 10, 5)),
    ]
    assert [unit.outs[1].channels for unit in units[-2:]] == [32, 16]  # half of their own width
    maps = [shape[:2] for shape in lower(genome)[-1].ins]
    assert maps == [(96, 80), (40, 40), (24, 20), (64, 20), (32, 10)]
    shortcuts = [getattr(block.op, "shortcut", None) for block in genome.blocks]
    assert shortcuts == ["none", False, True, False, True, False, False]


def test_a_truncated_chain_is_the_shorter_one() -> None:
    head = ssdlite_head(default_boxes(1))
    cut = genome_from_listing(ROWS, [Tapped(4)], head, truncation=(2, 4))
    assert cut.key == genome_from_listing(ROWS[:3], [Tapped(2)], head).key


def test_widths_are_rounded_to_eight() -> None:
    head = ssdlite_head(default_boxes(1))
    fixed = (*ROWS, ChainBlock(LayerSpec("conv", 1), 100, scalable=False))
    genome = genome_from_listing(fixed, [Tapped(5)], head, deploy=MobileDeploySettings(width=0.75))
    widths = [unit.width for unit in lower(genome) if unit.kind == "block"]
    assert widths == [16, 24, 24, 32, 32, 100]  # 12, 18 (16 is over a tenth below it), 30


def test_a_style_is_shared() -> None:
    head = ssdlite_head(default_boxes(1))
    rows = stage((IBN, TUCKER), 8, 2, BlockStyle("hard_swish"))
    genome = genome_from_listing(rows, [Tapped(1)], head)
    assert [getattr(block.op, "activation", None) for block in genome.blocks] == ["hard_swish"] * 2


def test_a_tap_beyond_the_chain_is_refused() -> None:
    head = ssdlite_head(default_boxes(1))
    with pytest.raises(GenomeError, match=r"\[5\] of 5; legal: .* 0 to 4"):
        genome_from_listing(ROWS, [Tapped(5)], head)
    with pytest.raises(GenomeError, match="at least one row"):
        genome_from_listing((), [], head)
