"""Numbers, times, costs and names as people read them: in tables, on the page, in messages."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nas.study.objective import ObjectiveSettings
from nas.study.trial import Arm, Record

UNITS = {
    "params": (1e6, "M"),
    "macs": (1e9, "G"),
    "bits": (1e6, "Mbit"),
    "latency_ms": (1.0, "ms"),
}
"""How costs are shown: divided by what, and the unit's name."""
ARMS: Mapping[Arm, str] = {"controller": "controller", "control": "random"}
"""How the arms of a search are called."""


def number_text(value: float | None) -> str:
    """Returns a score: `0.375`, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def time_text(seconds: float) -> str:
    """Returns a time as one reads it: `84 s`, `12 min`, `3 h 05 min`."""
    if not math.isfinite(seconds) or seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def cost_text(name: str, value: float | None) -> str:
    """Returns a cost with its unit: `28.5 M`; a number too small for that as it is: `5`."""
    if value is None:
        return "–"
    unit, sign = UNITS.get(name, (1.0, ""))
    if unit > 1 and abs(value) < unit / 1000:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    scaled = value / unit
    number = f"{scaled:.4g}" if abs(scaled) < 10_000 else f"{scaled:,.0f}"
    return f"{number} {sign}".strip()


def objective_text(objective: ObjectiveSettings) -> str:
    """Returns what is searched for: `ap50 · (macs / 30 G)^-0.07`."""
    shape = objective.shape
    if shape is None:
        ways = f" against {', '.join(objective.axes)}" if objective.spread else ""
        return f"{objective.maximize}{ways}"
    ratio = f"{shape.cost} / {cost_text(shape.cost, shape.target)}"
    if shape.kind == "absolute":
        return f"{objective.maximize} - {-shape.w:g} · |{ratio} - 1|"
    ratio = f"max(1, {ratio})" if shape.kind == "hard" else f"({ratio})"
    return f"{objective.maximize} · {ratio}^{shape.w:g}"


def proposed_by(row: Record) -> str:
    """Returns the name of a row's arm; "earlier" for what another run has scored before."""
    return "earlier" if row.phase == "earlier" else ARMS[row.arm]
