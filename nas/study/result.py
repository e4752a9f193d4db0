"""What a search found: its trials, the noisy maximum, and the best after re-evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nas.study.finalists import Finalist, finalists_of
from nas.study.objective import ObjectiveSettings
from nas.study.pareto import pareto_front
from nas.study.trial import Arm, Record, Status


@dataclass(frozen=True)
class Result:
    """What came of a search.

    Attributes:
        trials: the search's trials that cost budget, scored or failed, in order of completion.
        finalists: candidates that were scored again, best mean first.
        best: the row of the finalist with the best mean; without finalists, `best_observed`.
        best_observed: the row with the highest score: a noisy maximum, biased upwards.
        pareto: the scored rows that no other dominates in metric and costs.
        objective: what was searched for.
        warm_start: what another run had scored before this one began; such a row is no trial, but
            may be the best, a finalist, or on the front.
    """

    trials: tuple[Record, ...]
    finalists: tuple[Finalist, ...]
    best: Record | None
    best_observed: Record | None
    pareto: tuple[Record, ...]
    objective: ObjectiveSettings
    warm_start: tuple[Record, ...] = ()

    def best_of(self, arm: Arm) -> Record | None:
        """Returns the best candidate that an arm chose, by the same rule as `best`."""
        for finalist in self.finalists:
            if finalist.record.arm == arm and finalist.record.phase == "search":
                return finalist.record
        done = [r for r in self.trials if r.arm == arm and r.status is Status.DONE]
        return _highest(done, self.objective)


def result_of(records: Iterable[Record], objective: ObjectiveSettings) -> Result:
    """Reads a result off a run's rows, finished or not."""
    rows = sorted((r for r in records if r.tell_seq is not None), key=lambda r: r.tell_seq or 0)
    first = [row for row in rows if row.phase != "finalist"]
    scored = [row for row in first if row.is_scored]
    finalists = finalists_of(first, [row for row in rows if row.phase == "finalist"])
    observed = _highest(scored, objective)
    front = pareto_front([objective.point(row) for row in scored])
    return Result(
        trials=tuple(row for row in first if row.charged),
        finalists=finalists,
        best=finalists[0].record if finalists else observed,
        best_observed=observed,
        pareto=tuple(scored[index] for index in front),
        objective=objective,
        warm_start=tuple(row for row in first if row.phase == "earlier"),
    )


def _highest(scored: list[Record], objective: ObjectiveSettings) -> Record | None:
    """Returns the row with the highest score, the first of equal ones."""
    return max(scored, key=lambda row: (objective.score(row), -row.number), default=None)
