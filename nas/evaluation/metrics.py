"""COCO's numbers for one set of detections."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

COMMON = 10  # boxes that a class needs to count in `ap_common`


@dataclass(frozen=True)
class ClassNumbers:
    """One class in numbers; what can't be said, since it has no box, is NaN."""

    boxes: int  # to be found: crowds aren't counted
    ap: float  # mean over IoU 0.50:0.05:0.95
    ap50: float


@dataclass(frozen=True)
class Metrics:
    """COCO's twelve numbers in 0..1, at most 100 detections an image and class.

    What can't be said, since there is no box of that size, is NaN (COCO's −1).
    """

    ap: float  # mean over IoU 0.50:0.05:0.95 and classes
    ap50: float
    ap75: float
    ap_small: float  # area to 32² px
    ap_medium: float  # to 96² px
    ap_large: float
    ar1: float  # recall with one detection an image and class
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    ap_common: float = math.nan  # mean of `ap` over the classes with at least ten boxes
    per_class: dict[str, ClassNumbers] = field(default_factory=dict)  # by name

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; what is NaN becomes None."""
        return _plain(asdict(self))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, dict) else None if value != value else value
        for name, value in values.items()
    }
