"""What is tried and what came of it: a trial, an attempt's outcome, and the row of a run."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from nas.space import Code
from nas.study.failures import RULES, Failure, FailureKind

Phase = Literal["search", "finalist", "earlier"]
"""A row is a proposal, the re-evaluation of a finalist, or a warm start's ("earlier": another run
has scored it before this one began)."""
Arm = Literal["controller", "control"]
Metrics = Mapping[str, float]


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
    if rule.reported_as == "withdrawn":
        return Status.WITHDRAWN
    return Status.FAILED if rule.charged else Status.INFEASIBLE


@dataclass
class Record:
    """One row of a run's store: a proposal and all that became of it.

    Attributes:
        arm: which arm proposed it; a warm start's row stands in the controller's.
        source: "controller" for its own proposal, "uniform" for a uniform draw and for a warm
            start's row.
        ask_seq, tell_seq: the places of the two events in the run's one order of events.
        attempts: how often the trial was started.
        retried: the kinds of the attempts that failed and were tried again.
        charged: whether the row costs one trial of the budget.
        cached_from: of a duplicate, the number of the original, whose result it shares.
        costs: params, MACs, ... of the candidate as deployed.
        reward: what the controller was told; for a trial that was not finite, the worst so far.
        excess: how far over the limits, summed as relative excess; 1 where it is unknown.
        seconds: of this run's time; 0 where the result is another row's or another run's.
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

    @property
    def has_run(self) -> bool:
        """Whether a trial of the search ended here: scored, stopped or failed."""
        ended = self.status in (Status.DONE, Status.STOPPED, Status.FAILED)
        return ended and self.phase == "search" and self.cached_from is None

    def finish(self, outcome: Outcome, reward: float | None, clock: float) -> None:
        """Writes the outcome of its last attempt into the row.

        Args:
            outcome: judged; its metrics are finite where the objective uses them.
            reward: what the metrics are worth; None for a failure.
            clock: seconds on the run's own clock.
        """
        self.metrics, self.curve = dict(outcome.metrics), outcome.curve
        self.failure, self.seconds, self.clock = outcome.failure, outcome.seconds, clock
        self.numerics, self.versions = outcome.numerics, outcome.versions
        if outcome.failure is None:
            self.status = Status.STOPPED if outcome.stopped else Status.DONE
            self.reward = reward
        else:
            self.status = status_after(outcome.failure.kind)
            self.excess = 1.0

    def share(self, original: Record) -> None:
        """Makes the row a duplicate: it takes over the original's result, or waits for it."""
        self.cached_from, self.status = original.number, original.status
        self.curve = original.curve
        self.costs, self.metrics, self.failure = original.costs, original.metrics, original.failure
        self.reward, self.excess = original.reward, original.excess
        self.numerics, self.versions = original.numerics, original.versions


def candidate_json(candidate: Any) -> str:
    """Returns a candidate as its row keeps it."""
    if hasattr(candidate, "to_json"):
        return str(candidate.to_json())
    return json.dumps(candidate, sort_keys=True, default=repr)


def trial_seed(run_seed: int, key: str, repeat: int) -> int:
    """Returns the seed of a trial: 32 bits of the SHA-256 of its three parts."""
    digest = hashlib.sha256(f"{run_seed}/{key}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
