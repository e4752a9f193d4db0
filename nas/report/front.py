"""The Pareto front of a search in words and rows: what a lower cost takes off the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.report.formatting import cost_text, number_text, proposed_by
from nas.study.objective import ObjectiveSettings
from nas.study.pareto import hypervolume_over_time, reference_point
from nas.study.result import Result
from nas.study.trial import Record


def front_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the front's trials, the highest metric first; none without costs."""
    objective = result.objective
    heads = ["trial", "proposed by", objective.maximize, *objective.axes]
    if not objective.axes:
        return heads, []
    rows = []
    for row in sorted(result.pareto, key=objective.point, reverse=True):
        values = {**row.costs, **row.metrics}
        costs = [cost_text(name, values.get(name)) for name in objective.axes]
        rows.append(
            [str(row.number), proposed_by(row), number_text(values[objective.maximize]), *costs]
        )
    return heads, rows


def growth(records: Sequence[Record], objective: ObjectiveSettings) -> str:
    """Says in one sentence how the hypervolume grew over each quarter of the trials."""
    origin = reference_point(records, objective)
    course = hypervolume_over_time(records, objective, origin)
    if not course or not all(map(math.isfinite, origin)):
        return ""
    unit = math.prod(abs(cost) or 1.0 for cost in origin[1:])
    trials = sorted({math.ceil(len(course) * quarter / 4) for quarter in (1, 2, 3, 4)})
    values = ", ".join(f"{course[n - 1] / unit:.3g} after {n}" for n in trials)
    names = zip(objective.axes, origin[1:], strict=True)
    costs = " and ".join(f"{name} {cost_text(name, -cost)}" for name, cost in names)
    return (
        f"Hypervolume by trials: {values}; measured from {objective.maximize} {origin[0]:g} at "
        f"{costs}, costs in units of these."
    )
