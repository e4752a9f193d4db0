"""What a budget pays for: trials, the second look at the best, and time to retrain the winner.

A budget in hours is for all three. A share of it stays for retraining; of the rest the second look
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
from nas.study.settings import ControlSettings, FinalistSettings

TIMED = 2
"""Trials of each worker that are timed before a forecast is given."""
SPARE = 0.2
"""Kept on top of the second look, as a share of it: half for trials that end later than expected,
half because the best may take longer than the median."""
MOST = 0.5
"""The share of the search's time that a second look may take where the budget is short."""


@dataclass(frozen=True)
class Plan:
    """What a search has to do, and in what time.

    Attributes:
        trials: of the budget; infinite where it is time.
        seconds: of the budget; infinite where it is trials.
        retrain_share: of the seconds, what stays for retraining.
        workers: trials at once.
        looks: trials of the second look.
        length: how many times as long as a trial of the search each of those is.
    """

    trials: float = math.inf
    seconds: float = math.inf
    retrain_share: float = 0.0
    workers: int = 1
    looks: int = 0
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
        """When the search has to be over, the second look with it."""
        return self.seconds - self.retraining

    def look_seconds(self, trial: float) -> float:
        """Returns how long the second look takes if a full trial takes `trial` seconds."""
        rounds = math.ceil(self.looks / self.workers)
        return min(rounds * self.length * trial, MOST * self.end)


@dataclass(frozen=True)
class Forecast:
    """What the rest of a search is expected to take.

    Attributes:
        trials: those of the whole search.
        look: seconds of the second look.
        left: seconds from now until all is over; for a budget in hours, at the latest.
        retrain: seconds that stay for retraining; 0 where the budget is trials.
    """

    trials: int
    look: float
    left: float
    retrain: float


class Timetable:
    """When the parts of a search have to be over, by the trials that were timed.

    Example:
        >>> times = Timetable(Plan(seconds=3600.0, workers=2, looks=4, length=3))
        >>> times.add(100.0, full=True)
        >>> times.done_by  # 2 rounds of 300 s, and a fifth more, before the hour is over
        2880.0
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._full: list[float] = []
        self._count, self._sum = 0, 0.0
        self._length = 0  # of the trials of the second look, once it has begun

    def add(self, seconds: float, *, full: bool) -> None:
        """Times a finished trial of the search.

        Args:
            full: whether it ran to its end, and so tells how long a second look takes.
        """
        self._count += 1
        self._sum += seconds
        if full:
            bisect.insort(self._full, seconds)  # in order, the median is quick

    def begin_second_look(self, length: int) -> None:
        """Ends the search's own part: the second look has all the time that is left."""
        self._length = length

    @property
    def mean(self) -> float:
        """Of all timed trials, stopped and failed ones too: so long one trial of a budget takes."""
        return self._sum / self._count if self._count else 0.0

    @property
    def trial(self) -> float:
        """How long a full trial takes: the median, or the mean while there is none; at first 0."""
        return statistics.median(self._full) if self._full else self.mean

    @property
    def done_by(self) -> float:
        """When what is started now has to be done."""
        return self._before_look(SPARE)

    @property
    def cut_at(self) -> float:
        """When what still runs is ended."""
        return self._before_look(SPARE / 2)

    def fits(self, clock: float) -> bool:
        """Whether a trial that is started now can be expected to be done in time."""
        if not self.plan.is_timed:
            return True
        limit = self.done_by
        return clock < limit and clock + max(1, self._length) * self.trial <= limit

    def is_over(self, clock: float) -> bool:
        """Whether what still runs has to be ended."""
        return self.plan.is_timed and clock >= self.cut_at

    def forecast(self, clock: float, told: int) -> Forecast | None:
        """Returns what the rest is expected to take.

        Args:
            told: the trials of the budget that are finished.

        Returns:
            None before enough trials were timed, and once the second look has begun.
        """
        plan, mean = self.plan, self.mean
        if self._length or self._count < TIMED * plan.workers or mean <= 0.0:
            return None
        look = plan.look_seconds(self.trial)
        if not plan.is_timed:
            more = max(0.0, plan.trials - told)
            return Forecast(int(plan.trials), look, more * mean / plan.workers + look, 0.0)
        more = max(0.0, (self.done_by - clock) * plan.workers / mean)
        left = max(0.0, plan.end - clock)
        return Forecast(told + math.floor(more + 1e-9), look, left, plan.retraining)

    def _before_look(self, spare: float) -> float:
        if self._length:
            return self.plan.end
        return self.plan.end - (1.0 + spare) * self.plan.look_seconds(self.trial)


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

    def plan(
        self,
        retrain_share: float,
        control: ControlSettings,
        finalists: FinalistSettings | None,
        workers: int,
    ) -> Plan:
        """Returns what the budget has to pay for.

        Raises:
            ConfigError: if nothing would be left to the search.
        """
        if not 0.0 <= retrain_share < 1.0:
            raise ConfigError(
                f"retrain_share is {retrain_share:g}; it should be at least 0 and less than 1"
            )
        looks = finalists.count * finalists.repeats * control.arms if finalists else 0
        length = finalists.length if finalists else 1
        return Plan(self.trials, self.seconds, retrain_share, workers, looks, length)
