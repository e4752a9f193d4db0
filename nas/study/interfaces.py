"""What a study works with: evaluators, and the events that it lets be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nas.study.budget import Forecast
from nas.study.failures import Failure
from nas.study.trial import Metrics, Trial


@dataclass(frozen=True)
class Event:
    """Something to show: a trial began, reached a rung, was completed, or will be retried.

    Attributes:
        stopped: with "completed", whether the trial was ended early, at its last rung's metrics.
        forecast: with "completed", what the rest of the search is expected to take; None at first,
            and during the re-evaluation of finalists.
    """

    kind: Literal["asked", "rung", "completed", "retry"]
    trial: Trial
    metrics: Metrics = field(default_factory=dict)
    failure: Failure | None = None
    stopped: bool = False
    forecast: Forecast | None = None


OnEvent = Callable[[Event], None]


class Evaluator(Protocol):
    """Scores a candidate: returns a number or a dict of metrics, or yields them rung by rung.

    It may accept `length` (a factor on the length of its trials) and `repeat` (the number of the
    candidate's evaluation, from 0), and may have `describe()` (JSON-able, kept with the run),
    `prepare()` (called once in each worker), and `numerics` (a string).
    """

    def __call__(self, candidate: Any, seed: int, /) -> Any:
        """Scores a candidate; everything random in it follows from the seed."""
