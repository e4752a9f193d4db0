"""The house's heads under the suite that other packages run on theirs."""

from __future__ import annotations

from typing import Any

from nas.testing.heads import HeadSuite

OCTAVES = {"type": "octave", "size": 4.0, "scales": [1.0, 1.5], "ratios": [1.0, 2.0]}
BOXES = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}


class TestRetinaNet(HeadSuite):
    def make_part(self) -> Any:
        return {"type": "retinanet", "width": 16, "depth": 2, "anchors": [OCTAVES] * 3}


class TestSSD(HeadSuite):
    def make_part(self) -> Any:
        return {"type": "ssd", "anchors": [BOXES] * 3}


class TestSSDlite(HeadSuite):
    def make_part(self) -> Any:
        return {"type": "ssd", "separable": True, "anchors": [BOXES] * 3}
