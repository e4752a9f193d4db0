"""What is under way in a search: attempts that run, and trials that wait to be started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.study.failures import RULES, FailureKind
from nas.study.history import History
from nas.study.trial import Record, Trial

Allowed = Callable[[Record], bool]
"""Whether a waiting trial may be started now."""


class Attempts:
    """Starts trials, tries them again by the rules of failures, and knows which attempt counts.

    Attributes:
        curves: the rewards that each running trial has reported so far, by its number.
    """

    def __init__(
        self, history: History, clock: Callable[[], float], backoff: Sequence[float]
    ) -> None:
        """Begins with nothing under way.

        Args:
            history: the run's rows, in which attempts are recorded.
            clock: of the run, in seconds.
            backoff: seconds before each retry of a trial whose worker was lost.
        """
        self._history, self._clock, self._backoff = history, clock, backoff
        self.curves: dict[int, list[float]] = {}
        self._waiting: list[tuple[float, int]] = []  # (when, number)

    def start(self, record: Record) -> Trial:
        """Begins an attempt of a row, and returns it as an executor gets it."""
        record.attempts += 1
        self.curves[record.number] = []
        self._history.touch(record)
        return Trial(
            number=record.number,
            arm=record.arm,
            code=record.code,
            key=record.key,
            candidate=record.candidate,
            seed=record.seed,
            repeat=record.repeat,
            attempt=record.attempts,
            phase=record.phase,
            length=record.length,
            alone=bool(record.retried) and RULES[record.retried[-1]].alone,
        )

    def start_waiting(self, allowed: Allowed) -> Trial | None:
        """Begins an attempt of the first trial that is due, if there is one."""
        for when, number in sorted(self._waiting):
            record = self._history.records[number]
            if when <= self._clock() and allowed(record):
                self._waiting.remove((when, number))
                return self.start(record)
        return None

    def idle_seconds(self, allowed: Allowed) -> float | None:
        """Returns how long until a trial is due; None if none will be."""
        due = [when for when, number in self._waiting if allowed(self._history.records[number])]
        return max(0.0, min(due) - self._clock()) if due else None

    def wait(self, record: Record, until: float = 0.0) -> None:
        """Queues a trial to be started."""
        self._waiting.append((until, record.number))

    def waiting(self) -> list[Record]:
        """Returns the queued trials."""
        return [self._history.records[number] for _, number in sorted(self._waiting)]

    def is_late(self, trial: Trial) -> bool:
        """Tells whether this attempt was ended, or given up, before."""
        current = self._history.records[trial.number].attempts
        return trial.number not in self.curves or trial.attempt != current

    def end(self, trial: Trial) -> None:
        """Ends an attempt."""
        del self.curves[trial.number]

    def retry(self, record: Record, kind: FailureKind, *, at_once: bool = False) -> bool:
        """Queues a trial again whose attempt failed, if the kind's rule allows one more."""
        used = record.retried.count(kind)
        if used >= RULES[kind].retries:
            return False
        record.retried += (kind,)
        self._history.touch(record)
        pause = 0.0
        if kind is FailureKind.LOST and self._backoff and not at_once:
            pause = self._backoff[min(used, len(self._backoff) - 1)]
        self.wait(record, self._clock() + pause)
        return True

    def release(self) -> None:
        """Takes back what runs, to be started again as if it never had been."""
        for number in sorted(self.curves):
            record = self._history.records[number]
            record.attempts -= 1
            record.clock = self._clock()  # the time that it took is spent
            self._history.touch(record)
            self.wait(record)
        self.curves.clear()

    def drop(self, which: Callable[[Record], bool]) -> list[Record]:
        """Forgets all that runs and, of what waits, some; returns these rows by number."""
        dropped = {record.number for record in self.waiting() if which(record)}
        self._waiting = [entry for entry in self._waiting if entry[1] not in dropped]
        dropped |= self.curves.keys()
        self.curves.clear()
        return [self._history.records[number] for number in sorted(dropped)]
