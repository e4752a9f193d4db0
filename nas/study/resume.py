"""Opening a run: what may not change in it, what it begins with, and what its rows leave open."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.controllers.base import Controller
from nas.space import Space
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs
from nas.study.running import Attempts
from nas.study.settings import StudySettings
from nas.study.store import Store
from nas.study.trial import Outcome, Record, Status
from nas.study.warm_start import origin, warm_start_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What may not change while a run goes on.

    Attributes:
        settings: the study's; of these the control arm, delivery and early stopping count.
        further: settings of data and evaluator.
    """

    space: Space
    controller: Controller
    objective: ObjectiveSettings
    settings: StudySettings
    seed: int
    further: Mapping[str, Any]

    def describe(self, before: Path | None) -> dict[str, Any]:
        """Returns what a store keeps; `before` is the run of a warm start.

        What is off is left out, so that a run from before it was there goes on.
        """
        stopping = self.settings.stopping
        return {
            "space": self.space.describe(),
            "controller": self.controller.describe(),
            "objective": self.objective.describe(),
            "control": self.settings.control.model_dump(),
            "delivery": [self.settings.delivery, self.settings.window],
            "seed": self.seed,
            **({} if stopping is None else {"stopping": stopping.model_dump(mode="json")}),
            **({} if before is None else {"warm_start": str(before)}),
            **self.further,
        }


def claim(store: Store, identity: Identity, warm_start: Path | None, costs: Costs) -> list[Record]:
    """Makes a new store this run's, or checks that one with rows is.

    Args:
        store: new, or with rows.
        identity: what may not change in this run.
        warm_start: another run, whose results a new one begins with (`nas.study.warm_start`).
        costs: computes params, MACs, ... of a candidate as deployed.

    Returns:
        The rows of the warm start that aren't in the store yet.

    Raises:
        RunError: if the store was begun with other settings, naming the field; or the other run's
            results can't be used here.
    """
    before = origin(warm_start, store)
    settings = identity.describe(before)
    rows: list[Record] = []
    if before is not None and store.is_empty:
        rows = warm_start_rows(before, settings, identity.space, identity.objective, costs)
    # Last: a store whose warm start is refused stays new.
    store.claim(settings)
    return rows


def left_open(
    rows: Iterable[Record], attempts: Attempts
) -> Iterator[tuple[Record, Outcome | None]]:
    """Queues what was in flight when the driver ended, and yields results not delivered yet.

    Yields:
        A row, and its outcome: a loss, if it was started too often; None if the row has one.
    """
    for row in rows:
        if row.status is not Status.ASKED:
            if row.tell_seq is None:  # the driver was stopped between the two
                yield row, None
        elif row.cached_from is not None:
            continue
        elif row.attempts == len(row.retried):  # no attempt was under way
            attempts.wait(row)
        elif not attempts.retry(row, FailureKind.LOST, at_once=True):
            message = f"the driver died while it ran, in {row.attempts} attempts"
            yield row, Outcome(failure=Failure(FailureKind.LOST, message))


def provenance(resumed: Iterable[Record], records: Iterable[Record]) -> Provenance:
    """Returns what results of this session are compared with.

    Args:
        resumed: the rows that the store had.
        records: all rows, those of a warm start too.
    """
    versions = next((row.versions for row in reversed([*resumed]) if row.versions), {})
    numerics = [row.numerics for row in records if row.phase == "earlier"]
    return Provenance(versions, numerics)


class Provenance:
    """Warns when results come from other libraries or numerics than those before them."""

    def __init__(self, versions: Mapping[str, str], warm_start: Collection[str]) -> None:
        """Begins with what is recorded.

        Args:
            versions: of the last trial's libraries.
            warm_start: classes of numerics of the rows of a warm start.
        """
        self._versions = versions
        self._warm_start = set(warm_start) - {""}

    def note(self, outcome: Outcome) -> None:
        """Compares a result with those before it."""
        for name in outcome.versions.keys() & self._versions.keys():
            was, now = self._versions[name], outcome.versions[name]
            if now != was:
                log.warning("%s was %s earlier in this run, and is now %s", name, was, now)
        self._versions = outcome.versions or self._versions
        if outcome.numerics and self._warm_start and outcome.numerics not in self._warm_start:
            log.warning(
                "trials run as %s and those of the warm start as %s: the last digits may differ",
                outcome.numerics,
                ", ".join(sorted(self._warm_start)),
            )
            self._warm_start.clear()
