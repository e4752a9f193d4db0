"""Kinds of failure, the rule of each, and when a search gives up."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nas.errors import RunError

if TYPE_CHECKING:
    from nas.study.history import History


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
        reported_as: what the controller is told in the end: "infeasible", "worst" (the worst
            reward so far) or "withdrawn" (nothing).
        setting: the setting to change when too many trials fail in this way.
    """

    retries: int
    alone: bool
    charged: bool
    reported_as: Literal["infeasible", "worst", "withdrawn"]
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


INFEASIBLE_STREAK = 1000
"""Infeasible proposals in a row that end a run."""


def check_failures(history: History, most: float) -> None:
    """Checks that enough trials succeed.

    Nothing is refused before ten trials have finished, or five that all failed.

    Args:
        history: the run's.
        most: the share of failed trials that is accepted.

    Raises:
        RunError: if more of them failed, naming the setting to change.
    """
    failed, finished = history.failed, history.finished
    enough = finished >= 10 or (finished >= 5 and failed.total() == finished)
    if not enough or failed.total() / finished <= most:
        return
    kind, count = failed.most_common(1)[0]
    trials: dict[str, list[int]] = {}
    for record in history.records.values():
        if record.failure is not None and record.failure.kind is kind:
            trials.setdefault(record.failure.message, []).append(record.number)
    reason, numbers = max(trials.items(), key=lambda item: len(item[1]))
    raise RunError(
        f"{failed.total()} of {finished} trials failed, {count} of them by {kind} "
        f"(the commonest: {reason}, as in trial {numbers[-1]}); change {RULES[kind].setting}, or "
        f"raise compute.max_failures from {most}"
    )


def check_zeros(history: History, most: float, metric: str) -> None:
    """Checks that the proxy tells candidates apart; nothing is refused before 20 trials.

    Args:
        history: the run's.
        most: the share of trials with a metric of exactly 0 that is accepted.
        metric: what it is called.

    Raises:
        RunError: if there are more of them.
    """
    if history.finished >= 20 and history.zeros / history.finished > most:
        raise RunError(
            f"{history.zeros} of {history.finished} trials have {metric} = 0; lengthen the proxy "
            f"(the recipe's epochs), or raise study.max_zeros from {most}"
        )


def check_feasible(history: History, last: str) -> None:
    """Checks that something feasible was proposed not long ago.

    Args:
        history: the run's.
        last: why the last proposal was infeasible.

    Raises:
        RunError: if the last `INFEASIBLE_STREAK` proposals were all infeasible.
    """
    if history.infeasible_streak >= INFEASIBLE_STREAK:
        raise RunError(
            f"{INFEASIBLE_STREAK} proposals in a row were infeasible (the last: {last}); "
            "raise objective.limits, or change the space; nas search --dry-run shows what a limit "
            "leaves"
        )
