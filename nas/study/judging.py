"""From an attempt's outcome to a row's result."""

from __future__ import annotations

import dataclasses

from nas.errors import RunError
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.stopping import StopperSettings
from nas.study.trial import Outcome, Record, Status, status_after


def judged(
    outcome: Outcome,
    record: Record,
    objective: ObjectiveSettings,
    stopping: StopperSettings | None,
) -> Outcome:
    """Returns an outcome, or a failure if a number of the objective isn't finite.

    Raises:
        RunError: if the outcome can't be used at all, naming the setting to change.
    """
    if outcome.failure is None:
        if stopping is not None and record.phase == "search" and not outcome.curve:
            raise RunError(
                "stopping: the evaluator returns one result; let it yield metrics as it trains"
            )
        objective.check(outcome.metrics, record.costs)
        for metrics in (outcome.metrics, *(outcome.curve if stopping is not None else ())):
            if broken := objective.not_finite(metrics, record.costs):
                said = ", ".join(f"{name} is {value}" for name, value in broken.items())
                failure = Failure(FailureKind.NOT_FINITE, said)
                return dataclasses.replace(outcome, failure=failure)
        # What the shape can't take is refused here, while the attempt can still be taken back.
        objective.reward(outcome.metrics, record.costs)
    return outcome


def finish(record: Record, outcome: Outcome, objective: ObjectiveSettings, clock: float) -> None:
    """Writes a judged outcome into its row.

    Args:
        clock: seconds on the run's own clock.
    """
    record.metrics, record.curve = dict(outcome.metrics), outcome.curve
    record.failure, record.seconds, record.clock = outcome.failure, outcome.seconds, clock
    record.numerics, record.versions = outcome.numerics, outcome.versions
    if outcome.failure is None:
        record.status = Status.STOPPED if outcome.stopped else Status.DONE
        record.reward = objective.reward(outcome.metrics, record.costs)
    else:
        record.status = status_after(outcome.failure.kind)
        record.excess = 1.0
