"""The re-evaluation of finalists: the best of each arm, scored again with fresh seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.study.settings import FinalistSettings
from nas.study.trial import Arm, Record, Status

if TYPE_CHECKING:
    from nas.study.history import History

ARMS: tuple[Arm, ...] = ("controller", "control")


def due_reevaluations(history: History, settings: FinalistSettings) -> Iterator[tuple[Record, int]]:
    """Yields the re-evaluations that no session has finished or queued yet.

    Each seed goes round all finalists, so that all have had as many when the time is up.

    Yields:
        A row of the search, and which repeat of it is due (1...).
    """
    queued = {
        (record.key, record.repeat, record.length)
        for record in history.records.values()
        if record.phase == "finalist" and record.status is not Status.WITHDRAWN
    }
    chosen = [record for arm in ARMS for record in history.best(arm, settings.count)]
    for repeat in range(1, settings.repeats + 1):
        for best in chosen:
            trial = (best.key, repeat, settings.length)
            if trial not in queued:  # a candidate that both arms chose is scored again once
                queued.add(trial)
                yield best, repeat


@dataclass(frozen=True)
class Finalist:
    """A candidate that was re-evaluated.

    Attributes:
        record: its row in the search.
        rewards: with fresh seeds, one per repeat that finished.
    """

    record: Record
    rewards: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of its rewards, by which the winner is chosen."""
        return statistics.fmean(self.rewards)


def finalists_of(first: list[Record], again: list[Record]) -> tuple[Finalist, ...]:
    """Returns the finalists, best mean first.

    Args:
        first: rows of the search and of a warm start, in the order of their results.
        again: rows of re-evaluations.
    """
    # Only the longest re-evaluation counts where there were several.
    again = [row for row in again if row.status is Status.DONE and row.reward is not None]
    longest = max((row.length for row in again), default=1)
    rewards: dict[str, list[float]] = {}
    for row in again:
        if row.length == longest and row.reward is not None:
            rewards.setdefault(row.key, []).append(row.reward)
    # A candidate that both arms chose was scored again once, and stands for both.
    chosen = {(row.key, row.arm): row for row in reversed(first) if row.status is Status.DONE}
    finalists = [
        Finalist(row, tuple(rewards[key])) for (key, _), row in chosen.items() if key in rewards
    ]
    return tuple(sorted(finalists, key=lambda f: (-f.mean, f.record.number)))
