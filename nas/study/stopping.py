"""Early stopping: the rules that end trials between their reports, and whom they compare.

The rule that comes with this package is asynchronous successive halving, in its stopping form.
Li et al., arXiv 1810.05934: a trial that reaches a rung goes on if it is among the best 1/η of all
that have reached it so far, and is stopped otherwise. Nothing waits for a rung to fill, so the
first to arrive go on whatever they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import (
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from nas.settings import Settings
from nas.study.objective import ObjectiveSettings
from nas.study.trial import Record, Status
from nas.tables import OpenTable, Section


class StopperSettings(Settings):
    """A config's section `stopping`: which rule ends trials early, and when it is asked.

    Attributes:
        name: one of `STOPPERS`.
        rungs: the reports, counted from 1, after which a trial may be stopped. The training proxy
            reports after every epoch. The last report of a full trial is no rung.
    """

    name: str
    rungs: tuple[PositiveInt, ...] = Field(default=(1, 3), min_length=1)

    @model_validator(mode="after")
    def _rungs_rise(self) -> Self:
        if any(later <= rung for rung, later in zip(self.rungs, self.rungs[1:], strict=False)):
            raise ValueError(f"rungs {list(self.rungs)} must rise, as in [1, 3, 9]")
        return self


class Stopper(Protocol):
    """A rule of early stopping, made from its settings; it keeps nothing between calls.

    Attributes:
        settings_type: what a config's section `stopping` may hold with its name.
        rule: what a plan says of it, such as "one in 3 goes on".
    """

    settings_type: ClassVar[type[StopperSettings]]

    @property
    def rule(self) -> str:
        """What a plan says of the rule."""

    def goes_on(self, reward: float, others: Sequence[float]) -> bool:
        """Tells whether a trial goes on from a rung.

        Args:
            reward: its own, there.
            others: those of the other trials that have reached the rung, stopped or not.
        """


class StoppingSettings(StopperSettings):
    """Settings of asynchronous successive halving.

    Attributes:
        eta: η, of the trials at a rung one in so many goes on.
    """

    name: Literal["asha"] = "asha"
    eta: int = Field(default=3, ge=2)

    @model_serializer(mode="wrap")
    def _as_recorded(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out the name, which runs from before there were others haven't recorded."""
        fields: dict[str, Any] = write(self)
        fields.pop("name", None)
        return fields


class ASHA:
    """Asynchronous successive halving; fewer than η trials at a rung stop nobody.

    Example:
        >>> ASHA(StoppingSettings(eta=3)).goes_on(1.0, others=[2.0, 3.0])
        False
    """

    settings_type: ClassVar[type[StopperSettings]] = StoppingSettings

    def __init__(self, settings: StoppingSettings) -> None:
        """Makes the rule of these settings."""
        self.settings = settings

    @property
    def rule(self) -> str:
        """Which share of trials goes on."""
        return f"one in {self.settings.eta} goes on"

    def goes_on(self, reward: float, others: Sequence[float]) -> bool:
        """Tells whether a trial is among the best 1/η at a rung: its rank at most ⌈N/η⌉ of N."""
        count = 1 + len(others)
        better = sum(other > reward for other in others)
        return count < self.settings.eta or better < math.ceil(count / self.settings.eta)


STOPPERS = OpenTable("stoppers", {"asha": "nas.study.stopping:ASHA"})
"""Name of a rule to the place of its class, a `Stopper`; another package may add its own."""

STOPPING = Section(STOPPERS, "asha")
"""What chooses a rule's settings by their name."""


def make_stopper(settings: StopperSettings) -> Stopper:
    """Returns the rule that settings describe.

    Raises:
        ConfigError: if its class can't be imported.
    """
    stopper: Stopper = STOPPING.make(settings)
    return stopper


def rank_among(reward: float, others: Sequence[float]) -> float:
    """Returns the share of rewards, its own with them, that a reward beats; ties count half."""
    beaten = sum(other < reward for other in others)
    ties = 1 + sum(other == reward for other in others)
    return (beaten + ties / 2.0) / (1 + len(others))


@dataclass(frozen=True)
class Rivals:
    """Finds whom a trial is compared with at a rung.

    Attributes:
        records: the run's rows.
        across: whether the arms are compared with each other.
        delivered_before: whether only what was delivered before a trial was asked counts, so that
            the timing of others doesn't.
    """

    records: Mapping[int, Record]
    objective: ObjectiveSettings
    across: bool
    delivered_before: bool

    def at(
        self, report: int, record: Record, in_flight: Mapping[int, Sequence[float]]
    ) -> list[float]:
        """Returns the rewards of the other trials, stopped or not, that came to a report.

        Args:
            report: counted from 1.
            record: the trial's own row.
            in_flight: the rewards that running trials have reported, by number.
        """
        others = [row for row in self.records.values() if self._competes(row, record)]
        curves = (self._curve(row, record, in_flight) for row in others)
        return [curve[report - 1] for curve in curves if len(curve) >= report]

    def _competes(self, row: Record, record: Record) -> bool:
        """Whether a row's rewards are compared with those of a record."""
        if row.number == record.number or row.phase == "finalist" or row.cached_from is not None:
            return False
        return self.across or row.arm == record.arm

    def _curve(
        self, row: Record, record: Record, in_flight: Mapping[int, Sequence[float]]
    ) -> Sequence[float]:
        """Returns a row's rewards that a record may be compared with."""
        if self.delivered_before and not (row.tell_seq or math.inf) < record.ask_seq:
            return ()
        if row.status in (Status.DONE, Status.STOPPED):
            return self.objective.curve(row)
        return in_flight.get(row.number, ())
