"""What a search may spend, how it shares that out, and when it gives up."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Self

from pydantic import Field, PositiveInt

from nas.errors import ConfigError
from nas.forecast import Plan
from nas.settings import Settings
from nas.trial import duration


class ControlSettings(Settings):
    """The control arm: uniform draws inside the same search.

    Below a share of 0.5 their results are told to the controller too. From 0.5 on they are an arm
    of its own: nothing crosses over, and a candidate that the other arm has scored already costs
    budget here as it would alone.
    """

    share: float = Field(default=0.2, ge=0.0, le=1.0)

    @property
    def is_full_arm(self) -> bool:
        return self.share >= 0.5

    @property
    def arms(self) -> int:
        """How many arms get trials."""
        return 2 if 0.0 < self.share < 1.0 else 1


class FinalistSettings(Settings):
    """The second look at the best: fresh seeds, and perhaps a longer proxy.

    Attributes:
        count: how many distinct candidates per arm.
        length: factor on the proxy's epochs, for evaluators that accept it.
        repeats: fresh seeds per candidate.
    """

    count: PositiveInt = 3
    length: PositiveInt = 3
    repeats: PositiveInt = 3


class StudySettings(Settings):
    """How a study spends and when it gives up.

    Attributes:
        max_zeros: the share of trials whose metric is exactly 0 above which the run stops; 1 never
            stops it.
        delivery: "completion" tells results as they come. "proposal" asks for proposal n + window
            after exactly the results 0...n, so that a run is equal whatever the timing.
        window: proposals under way at once with delivery "proposal".
        backoff: seconds before each retry of a trial whose worker was lost.
    """

    max_zeros: float = Field(default=1.0, ge=0.0, le=1.0)
    delivery: Literal["completion", "proposal"] = "completion"
    window: PositiveInt = 1
    backoff: tuple[float, ...] = (1.0, 4.0, 16.0)


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
