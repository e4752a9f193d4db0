"""What is tried and what came of it: trial, outcome, kind of failure, and the row of a run."""

from __future__ import annotations

import enum
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from nas.errors import ConfigError
from nas.forecast import Forecast
from nas.space import Code

Phase = Literal["search", "finalist", "earlier"]
"""Of a row: a proposal, a second look at one, or what another run has scored before this began."""
Arm = Literal["controller", "control"]
Metrics = Mapping[str, float]


class FailureKind(enum.StrEnum):
    """Why a trial has no score; each kind has a rule in `RULES`."""

    INVALID = "invalid"
    OVER_LIMIT = "over_limit"
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    LOST = "lost"
    ERROR = "error"


@dataclass(frozen=True)
class FailureRule:
    """What a kind of failure leads to.

    Attributes:
        retries: how often the trial is asked again.
        alone: whether it is asked again alone on its device.
        charged: whether the failed trial costs budget.
        told: what the controller hears in the end: "infeasible", "worst" (the worst reward seen)
            or "withdrawn" (nothing).
        setting: the setting to change when too many trials fail in this way.
    """

    retries: int
    alone: bool
    charged: bool
    told: Literal["infeasible", "worst", "withdrawn"]
    setting: str


RULES: Mapping[FailureKind, FailureRule] = {
    FailureKind.INVALID: FailureRule(0, False, False, "infeasible", "space"),
    FailureKind.OVER_LIMIT: FailureRule(0, False, False, "infeasible", "objective.limits"),
    FailureKind.NOT_FINITE: FailureRule(0, False, True, "worst", "the recipe's learning rate"),
    FailureKind.OUT_OF_MEMORY: FailureRule(1, True, True, "infeasible", "the recipe's batch_size"),
    FailureKind.TIMEOUT: FailureRule(1, True, True, "infeasible", "compute.trial_timeout"),
    FailureKind.LOST: FailureRule(3, False, False, "withdrawn", "compute.workers"),
    # A trial is a pure function, so an exception would come again: no retry.
    FailureKind.ERROR: FailureRule(0, False, True, "infeasible", "the evaluator"),
}


@dataclass(frozen=True)
class Failure:
    """One failed attempt: its kind and one line about it."""

    kind: FailureKind
    message: str


@dataclass(frozen=True)
class Trial:
    """A frozen proposal, as an executor gets it.

    Attributes:
        number: the proposal's number in the run.
        seed: a 32-bit hash of (run seed, key, repeat).
        attempt: 1 for the first try, then counted up.
        length: factor on the proxy's epochs; above 1 only for finalists.
        alone: to be run while nothing else uses its device.
    """

    number: int
    arm: Arm
    code: Code
    key: str
    candidate: Any
    seed: int
    repeat: int = 0
    attempt: int = 1
    phase: Phase = "search"
    length: int = 1
    alone: bool = False


@dataclass(frozen=True)
class Outcome:
    """What an attempt gave: metrics, or a failure.

    Attributes:
        curve: the metrics of each rung, where the evaluator yields.
        stopped: whether the study ended it early, at the last rung of its curve.
        seconds: wall time of the attempt.
        numerics: the class within which metrics are bit-equal (hardware, threads).
        versions: library versions of the worker.
    """

    metrics: Metrics = field(default_factory=dict)
    curve: tuple[Metrics, ...] = ()
    failure: Failure | None = None
    stopped: bool = False
    seconds: float = 0.0
    numerics: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


class Status(enum.StrEnum):
    """Where a row stands."""

    ASKED = "asked"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INFEASIBLE = "infeasible"
    WITHDRAWN = "withdrawn"


def status_after(kind: FailureKind) -> Status:
    """Returns where a row stands whose last attempt failed."""
    rule = RULES[kind]
    if rule.told == "withdrawn":
        return Status.WITHDRAWN
    return Status.FAILED if rule.charged else Status.INFEASIBLE


@dataclass
class Record:
    """One row of a run's store: a proposal and all that became of it.

    Attributes:
        arm: which arm proposed it; an earlier row stands in the controller's.
        source: "controller" for its own proposal, "uniform" for a uniform draw and an earlier row.
        ask_seq, tell_seq: the places of the two events in the run's one order of events.
        attempts: how often the trial was started.
        retried: the kinds of the attempts that failed and were tried again.
        charged: whether the row costs one trial of the budget.
        cached_from: the number of the row whose result this one shares.
        costs: params, MACs, ... of the candidate as deployed.
        reward: what the controller was told; for a trial that was not finite, the worst seen.
        excess: how far over the limits, summed as relative excess; 1 where it is unknown.
        seconds: of this run's time; 0 where the result is another row's or an earlier run's.
        clock: seconds on the run's own clock when the outcome came.
        kept_json: of a row that was read without its space, the candidate as it is kept.
    """

    number: int
    arm: Arm
    source: Literal["controller", "uniform"]
    phase: Phase
    code: Code
    key: str
    seed: int
    repeat: int = 0
    length: int = 1
    status: Status = Status.ASKED
    attempts: int = 0
    retried: tuple[FailureKind, ...] = ()
    ask_seq: int = 0
    tell_seq: int | None = None
    charged: bool = True
    cached_from: int | None = None
    costs: Metrics = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)
    curve: tuple[Metrics, ...] = ()
    reward: float | None = None
    excess: float = 0.0
    failure: Failure | None = None
    seconds: float = 0.0
    clock: float = 0.0
    numerics: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    decode: Callable[[Code], Any] | None = field(default=None, repr=False, compare=False)
    kept_json: str | None = field(default=None, repr=False, compare=False)

    @cached_property
    def candidate(self) -> Any:
        """The candidate, decoded on first use."""
        if self.decode is None:
            raise LookupError(f"trial {self.number} was read without its space")
        return self.decode(self.code)

    @property
    def candidate_json(self) -> str:
        """The candidate as its row keeps it."""
        return candidate_json(self.candidate) if self.kept_json is None else self.kept_json

    @property
    def is_scored(self) -> bool:
        """Whether this row holds a score of its own, not one shared with another row."""
        return self.status is Status.DONE and self.cached_from is None


def candidate_json(candidate: Any) -> str:
    """Returns a candidate as its row keeps it."""
    if hasattr(candidate, "to_json"):
        return str(candidate.to_json())
    return json.dumps(candidate, sort_keys=True, default=repr)


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


def trial_seed(run_seed: int, key: str, repeat: int) -> int:
    """Returns the seed of a trial: 32 bits of the SHA-256 of its three parts."""
    digest = hashlib.sha256(f"{run_seed}/{key}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(value: str | float, field_name: str = "duration") -> float:
    """Returns seconds: a number as it is, or text such as "45s", "30m", "8h", "1.5d".

    Raises:
        ConfigError: if the text is none of these, or not positive.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    else:
        seconds = float(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"{field_name}: {value!r} is no duration; write 45s, 30m, 8h or 1d")
    return seconds
