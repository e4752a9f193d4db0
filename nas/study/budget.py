"""What a budget pays for: trials, re-evaluation of the best, and time to retrain the winner.

A budget in hours is for all three. A share of it stays for retraining; of the rest re-evaluation
takes what it is expected to need, and trials take what is left. Times are seconds on a run's own
clock.
"""

from __future__ import annotations

import bisect
import math
import statistics
from dataclasses import dataclass
from typing import NamedTuple, Self

from nas.errors import ConfigError
from nas.settings import duration
from nas.study.settings import StudySettings

TIMED = 2
"""Trials of each worker that are timed before a forecast is given."""
SPARE = 0.2
"""Kept on top of the re-evaluation, as a share of it: half for trials that end later than expected,
half because the best may take longer than the median."""
MOST = 0.5
"""The share of the search's time that re-evaluation may take where the budget is short."""


@dataclass(frozen=True)
class Plan:
    """What a search has to do, and in what time.

    Attributes:
        trials: of the budget; infinite where it is time.
        seconds: of the budget; infinite where it is trials.
        retrain_share: of the seconds, what stays for retraining.
        workers: trials at once.
        reevaluations: trials of the re-evaluation of finalists.
        length: how many times as long as a trial of the search each of those is.
    """

    trials: float = math.inf
    seconds: float = math.inf
    retrain_share: float = 0.0
    workers: int = 1
    reevaluations: int = 0
    length: int = 1

    @property
    def is_timed(self) -> bool:
        """Whether the budget is time."""
        return math.isfinite(self.seconds)

    @property
    def retraining(self) -> float:
        """Seconds that stay for retraining; 0 where the budget is trials."""
        return self.seconds * self.retrain_share if self.is_timed else 0.0

    @property
    def end(self) -> float:
        """When the search has to be over, re-evaluation with it, on the run's clock."""
        return self.seconds - self.retraining

    def reevaluation_seconds(self, trial: float) -> float:
        """Returns how long re-evaluation takes if a full trial takes `trial` seconds."""
        # Workers run them in rounds; each takes `length` times a trial's time, all of them at most
        # a fixed share of the time that there is.
        rounds = math.ceil(self.reevaluations / self.workers)
        return min(rounds * self.length * trial, MOST * self.end)


@dataclass(frozen=True)
class Forecast:
    """What the rest of a search is expected to take.

    Attributes:
        trials: those of the whole search.
        reevaluation: seconds of the re-evaluation of finalists.
        left: seconds from now until all is over; for a budget in hours, at the latest.
        retrain: seconds that stay for retraining; 0 where the budget is trials.
    """

    trials: int
    reevaluation: float
    left: float
    retrain: float


class Timetable:
    """When the parts of a search have to be over, by the trials that were timed.

    Example:
        >>> times = Timetable(Plan(seconds=3600.0, workers=2, reevaluations=4, length=3))
        >>> times.add(100.0, full=True)
        >>> times.done_by  # 2 rounds of 300 s, and a fifth more, before the hour is over
        2880.0
    """

    def __init__(self, plan: Plan) -> None:
        """Begins before any trial was timed."""
        self.plan = plan
        self._full: list[float] = []
        self._count, self._sum = 0, 0.0
        self._length = 0  # of the trials of the re-evaluation, once it has begun

    def add(self, seconds: float, *, full: bool) -> None:
        """Times a finished trial of the search.

        Args:
            seconds: that it took.
            full: whether it ran to its end, and so tells how long a re-evaluation takes.
        """
        self._count += 1
        self._sum += seconds
        if full:
            bisect.insort(self._full, seconds)  # in order, the median is quick

    def begin_reevaluation(self, length: int) -> None:
        """Ends the search's own part: re-evaluation has all the time that is left."""
        self._length = length

    @property
    def mean_seconds(self) -> float:
        """The seconds that one trial of a budget takes: the mean of all, stopped and failed too."""
        return self._sum / self._count if self._count else 0.0

    @property
    def trial_seconds(self) -> float:
        """How long a full trial takes: the median, or the mean while there is none; at first 0."""
        return statistics.median(self._full) if self._full else self.mean_seconds

    @property
    def done_by(self) -> float:
        """When what is started now has to be done."""
        return self._before_reevaluation(SPARE)

    @property
    def cut_at(self) -> float:
        """When what still runs is ended."""
        return self._before_reevaluation(SPARE / 2)

    def fits(self, clock: float) -> bool:
        """Whether a trial that is started now can be expected to be done in time."""
        if not self.plan.is_timed:
            return True
        # A trial of the re-evaluation takes `length` times as long as one of the search.
        limit = self.done_by
        return clock < limit and clock + max(1, self._length) * self.trial_seconds <= limit

    def is_over(self, clock: float) -> bool:
        """Whether what still runs has to be ended."""
        return self.plan.is_timed and clock >= self.cut_at

    def forecast(self, clock: float, completed: int) -> Forecast | None:
        """Returns what the rest is expected to take.

        Args:
            clock: seconds on the run's own clock.
            completed: the trials of the budget that are finished.

        Returns:
            None before enough trials were timed, and once re-evaluation has begun.
        """
        plan, mean = self.plan, self.mean_seconds
        if self._length or self._count < TIMED * plan.workers or mean <= 0.0:
            return None
        after = plan.reevaluation_seconds(self.trial_seconds)
        if not plan.is_timed:
            more = max(0.0, plan.trials - completed)
            return Forecast(int(plan.trials), after, more * mean / plan.workers + after, 0.0)
        # Until then all workers run trials of the mean length; from then on, finalists' ones.
        more = max(0.0, (self.done_by - clock) * plan.workers / mean)
        left = max(0.0, plan.end - clock)
        return Forecast(completed + math.floor(more + 1e-9), after, left, plan.retraining)

    def _before_reevaluation(self, spare: float) -> float:
        """Returns when re-evaluation has to begin to be over in time, with `spare` of its time."""
        if self._length:
            return self.plan.end
        return self.plan.end - (1.0 + spare) * self.plan.reevaluation_seconds(self.trial_seconds)


class Budget(NamedTuple):
    """Trials over both arms, or seconds of the run's own clock."""

    trials: float
    seconds: float

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Reads 120, "120" or "8h"."""
        if isinstance(value, str) and not value.strip().isdigit():
            return cls(math.inf, duration(value, "budget"))
        if int(value) < 1:
            raise ConfigError(f"budget: {value!r} is no budget; write trials (120) or time (8h)")
        return cls(int(value), math.inf)

    def plan(self, settings: StudySettings, workers: int) -> Plan:
        """Returns what the budget has to pay for.

        Args:
            settings: say what follows the trials.
            workers: trials at once.

        Raises:
            ConfigError: if nothing would be left to the search.
        """
        share, finalists = settings.retrain_share, settings.finalists
        if not 0.0 <= share < 1.0:
            raise ConfigError(
                f"retrain_share is {share:g}; it should be at least 0 and less than 1"
            )
        again = finalists.count * finalists.repeats * settings.control.arms if finalists else 0
        length = finalists.length if finalists else 1
        return Plan(self.trials, self.seconds, share, workers, again, length)
