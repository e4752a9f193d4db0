"""What a study works with: evaluators, and the events that it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nas.study.budget import Forecast
from nas.study.failures import Failure
from nas.study.trial import Metrics, Trial


@dataclass(frozen=True)
class Event:
    """Something to show: a trial was asked, reached a rung, was told, or will be retried.

    Attributes:
        stopped: with "told", whether the trial was ended early, at the metrics of its last rung.
        forecast: with "told", what the rest of the search is expected to take; None at first, and
            during the second look.
    """

    kind: Literal["asked", "rung", "told", "retry"]
    trial: Trial
    metrics: Metrics = field(default_factory=dict)
    failure: Failure | None = None
    stopped: bool = False
    forecast: Forecast | None = None


OnEvent = Callable[[Event], None]


class Evaluator(Protocol):
    """Scores a candidate: returns a number or a dict of metrics, or yields them rung by rung.

    It may accept `length` (a factor on its epochs), and may have `describe()` (JSON-able, kept
    with the run), `prepare()` (called once in each worker), and `numerics` (a string).
    """

    def __call__(self, candidate: Any, seed: int, /) -> Any: ...
