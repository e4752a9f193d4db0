"""COCO's numbers for one set of detections."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

COMMON = 10  # boxes that a class needs to count in `ap_common`


@dataclass(frozen=True)
class Metrics:
    """COCO's twelve numbers in 0..1, at most 100 detections an image and class.

    What can't be said is NaN (COCO's −1): there is no box of that size, or `quick` left it out.
    """

    ap: float  # mean over IoU 0.50:0.05:0.95 and classes
    ap50: float
    ap75: float
    ap_small: float = math.nan  # area under 32² px
    ap_medium: float = math.nan  # to 96² px
    ap_large: float = math.nan
    ar1: float = math.nan  # recall with one detection an image and class
    ar10: float = math.nan
    ar100: float = math.nan
    ar_small: float = math.nan
    ar_medium: float = math.nan
    ar_large: float = math.nan
    ap_common: float = math.nan  # mean of `ap` over the classes with at least ten boxes
    per_class: dict[str, float] = field(default_factory=dict)  # `ap` by class name

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; what is NaN becomes None."""
        plain = asdict(self)
        plain["per_class"] = {name: _known(ap) for name, ap in self.per_class.items()}
        return {
            name: value if name == "per_class" else _known(value) for name, value in plain.items()
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
