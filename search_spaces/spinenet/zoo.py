"""SpineNet's published networks: their listings of permuted blocks, and the zoo's entries.

Sources: SpineNet, arXiv 1912.05027; tensorflow/tpu, models/official/detection.
"""

from __future__ import annotations

from collections.abc import Callable

from nas.genome import Genome
from search_spaces.spinenet.listing import (
    PermutedBlock,
    SpineNetDeploySettings,
    genome_from_listing,
)
from search_spaces.zoo_entry import Entry

TPU = "tensorflow/tpu, models/official/detection"
PAPER = "SpineNet, arXiv 1912.05027"


SPINENET_49_ROWS = (
    PermutedBlock(2, "bottleneck", (0, 1)),
    PermutedBlock(4, "residual", (0, 1)),
    PermutedBlock(3, "bottleneck", (2, 3)),
    PermutedBlock(4, "bottleneck", (2, 4)),
    PermutedBlock(6, "residual", (3, 5)),
    PermutedBlock(4, "bottleneck", (3, 5)),
    PermutedBlock(5, "residual", (6, 7)),
    PermutedBlock(7, "residual", (6, 8)),
    PermutedBlock(5, "bottleneck", (8, 9)),
    PermutedBlock(5, "bottleneck", (8, 10)),
    PermutedBlock(4, "bottleneck", (5, 10), output=True),
    PermutedBlock(3, "bottleneck", (4, 10), output=True),
    PermutedBlock(5, "bottleneck", (7, 12), output=True),
    PermutedBlock(7, "bottleneck", (5, 14), output=True),
    PermutedBlock(6, "bottleneck", (12, 14), output=True),
)
"""SpineNet-49's permuted blocks: tensorflow/tpu, modeling/architecture/spinenet.py."""

SPINENET_MOBILE_49_ROWS = (
    PermutedBlock(2, "inverted_residual", (0, 1)),
    *(
        PermutedBlock(
            row.level, "inverted_residual", (row.parents[0] + 1, row.parents[1] + 1), row.output
        )
        for row in SPINENET_49_ROWS
    ),
)
"""SpineNet-Mobile's: SpineNet-49's behind one more level-2 block, for the stem has levels 1 and 2.
Source: tensorflow/tpu, modeling/architecture/spinenet_mbconv.py."""

R0_SP53_ROWS = (
    PermutedBlock(2, "bottleneck", (0, 1)),
    PermutedBlock(3, "bottleneck", (0, 1)),
    PermutedBlock(3, "bottleneck", (2, 3)),
    PermutedBlock(4, "bottleneck", (2, 4)),
    PermutedBlock(4, "bottleneck", (3, 5)),
    PermutedBlock(3, "bottleneck", (5, 6)),
    PermutedBlock(5, "bottleneck", (4, 7)),
    PermutedBlock(4, "bottleneck", (4, 8)),
    PermutedBlock(4, "bottleneck", (8, 9)),
    PermutedBlock(4, "bottleneck", (8, 10)),
    PermutedBlock(3, "bottleneck", (4, 10), output=True),
    PermutedBlock(4, "bottleneck", (6, 7), output=True),
    PermutedBlock(5, "bottleneck", (8, 13), output=True),
    PermutedBlock(7, "bottleneck", (6, 9), output=True),
    PermutedBlock(6, "bottleneck", (7, 9), output=True),
)
"""R0-SP53, read off the paper's Fig. 4 by the hyperion speech toolkit: no first-hand listing."""


def _spinenet(name: str, rows: tuple[PermutedBlock, ...], **deploy: object) -> Callable[[], Genome]:
    return lambda: genome_from_listing(rows, SpineNetDeploySettings.model_validate(deploy), name)


def _mobile(name: str, width: float, head_width: int, input_size: int) -> Callable[[], Genome]:
    return _spinenet(
        name,
        SPINENET_MOBILE_49_ROWS,
        block="mobile",
        width=width,
        endpoints=head_width,
        head_width=head_width,
        input_size=input_size,
        activation="swish",
    )


def spinenet_entries() -> tuple[Entry, ...]:
    """Returns the entries, from the first to the smallest."""
    s49 = SPINENET_49_ROWS
    return (
        Entry(
            "spinenet-49s",
            _spinenet(
                "spinenet-49s", s49, width=0.65, endpoints=128, head_width=128, input_size=640
            ),
            12.0e6,
            33.8e9,
            f"{PAPER}; {TPU}/MODEL_ZOO.md (11.9 M)",
            "the released configuration comes to 11.27 M and 30.8 G; the published numbers fit "
            "endpoints of 256 channels before the 128-wide head (11.95 M, 33.75 G)",
        ),
        Entry(
            "spinenet-49",
            _spinenet("spinenet-49", s49),
            28.5e6,
            85.4e9,
            f"{PAPER}; {TPU}/MODEL_ZOO.md",
        ),
        Entry(
            "spinenet-96",
            _spinenet("spinenet-96", s49, repeats=2, input_size=1024),
            43.0e6,
            265.4e9,
            f"{PAPER}; {TPU}/MODEL_ZOO.md",
        ),
        Entry(
            "spinenet-143",
            _spinenet("spinenet-143", s49, alpha=1.0, repeats=3, anchor_size=4.0, input_size=1280),
            66.9e6,
            524.4e9,
            f"{PAPER}; {TPU}/MODEL_ZOO.md (67.0 M, 524.0 G)",
        ),
        Entry(
            "spinenet-190",
            _spinenet(
                "spinenet-190",
                s49,
                width=1.3,
                alpha=1.0,
                repeats=4,
                endpoints=512,
                head_depth=7,
                head_width=512,
                anchor_size=4.0,
                input_size=1280,
            ),
            163.6e6,
            1885e9,
            f"{PAPER}; {TPU}/MODEL_ZOO.md",
        ),
        Entry(
            "r0-sp53",
            _spinenet("r0-sp53", R0_SP53_ROWS),
            None,
            95.2e9,
            f"{PAPER}, Fig. 4; block list as transcribed by the hyperion toolkit",
            "the block list is a third party's reading of a figure",
        ),
        Entry(
            "spinenet-mobile-49",
            _mobile("spinenet-mobile-49", 1.0, 48, 384),
            2.34e6,
            1.0e9,
            f"{PAPER}, appendix A; {TPU}/MODEL_ZOO.md",
        ),
        Entry(
            "spinenet-mobile-49s",
            _mobile("spinenet-mobile-49s", 0.65, 40, 384),
            None,
            None,
            f"{PAPER}, appendix A",
        ),
        Entry(
            "spinenet-mobile-49xs",
            _mobile("spinenet-mobile-49xs", 0.6, 24, 256),
            None,
            None,
            f"{PAPER}, appendix A",
        ),
    )
