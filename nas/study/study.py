"""The passive heart of a search: an executor asks it for trials and tells it outcomes.

A run's truth is its store. A study that opens a store with rows absorbs the recorded events in
their order and goes on: it never computes a recorded proposal again, and asks again for what was
in flight.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from nas.controllers.base import Controller
from nas.errors import ConfigError
from nas.space import Space
from nas.study.budget import Budget, Forecast, Timetable
from nas.study.failures import check_barren, check_failures, check_zeros
from nas.study.finalists import looks_due
from nas.study.history import Ledger
from nas.study.judging import finish, judged
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs, Proposer
from nas.study.resume import Identity, claim, left_open, provenance
from nas.study.running import Attempts
from nas.study.settings import ControlSettings, FinalistSettings, StudySettings
from nas.study.stopping import Rivals, StopperSettings, make_stopper
from nas.study.store import Store
from nas.study.trial import Arm, Metrics, Outcome, Phase, Record, Status, Trial

log = logging.getLogger(__name__)


class Study:
    """Decides what to try next, judges what came back, and records both.

    Example:
        >>> study = Study(space, controller, ObjectiveSettings(), store, seed=0, budget=100)
        >>> while trial := study.ask():
        ...     study.tell(trial, Outcome(metrics={"ap50": score(trial.candidate, trial.seed)}))
    """

    def __init__(
        self,
        space: Space,
        controller: Controller,
        objective: ObjectiveSettings,
        store: Store,
        *,
        seed: int,
        budget: int | str,
        retrain_share: float = 0.0,
        control: ControlSettings | None = None,
        finalists: FinalistSettings | None = None,
        workers: int = 1,
        settings: StudySettings | None = None,
        costs: Costs | None = None,
        stopping: StopperSettings | None = None,
        max_failures: float = 0.3,
        identity: Mapping[str, Any] | None = None,
        warm_start: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens a study on a store, new or with rows.

        Args:
            seed: the run's seed.
            retrain_share: of a budget in time, what stays for retraining.
            finalists: the second look that will follow, whose time is kept of a budget in time.
            workers: trials that will be under way at once.
            costs: computes params, MACs, ... of a candidate as deployed, before any training.
            identity: further settings that may not change on resumption: data, evaluator.
            stopping: stops trials between their reports; None runs them all in full.
            max_failures: the share of failed trials above which the run stops.
            warm_start: another run, whose results a new one begins with (`nas.study.warm_start`).
            clock: seconds that never go back.

        Raises:
            ConfigError: if trials are to be stopped in a search that spreads along the front.
            RunError: if the store was begun with other settings, naming the field; or the other
                run's results can't be used here.
        """
        if stopping is not None and objective.spread:
            raise ConfigError(
                "objective.spread: a stopped trial has no place on the front; leave out stopping"
            )
        self.stopping = stopping
        self._stopper = None if stopping is None else make_stopper(stopping)
        self.space, self.objective, self.store, self.seed = space, objective, store, seed
        self.budget = Budget.parse(budget)
        self.control = control or ControlSettings()
        self.settings = settings or StudySettings()
        self._times = Timetable(self.budget.plan(retrain_share, self.control, finalists, workers))
        self._phase: Phase = "search"  # what may be started: finalists only in the second look
        self.max_failures = max_failures
        costs = costs or (lambda candidate: {})
        kept = Identity(
            space=space,
            controller=controller,
            objective=objective,
            control=self.control,
            settings=self.settings,
            stopping=stopping,
            seed=seed,
            further=identity or {},
        )
        earlier = claim(store, kept, warm_start, costs)
        self._ledger = Ledger(
            store,
            controller,
            objective,
            full_arms=self.control.is_full_arm,
            stops=stopping is not None,
        )
        self._proposer = Proposer(
            space,
            controller,
            objective,
            self._ledger,
            seed=seed,
            costs=costs,
            full_arms=self.control.is_full_arm,
        )
        self._rivals = Rivals(
            self.records,
            objective,
            across=not self.control.is_full_arm,
            told_before=self.settings.delivery == "proposal",
        )
        self._clock, self._origin = clock, clock()
        self._attempts = Attempts(self._ledger, lambda: self.clock, self.settings.backoff)
        self._closed = False
        resumed = self._resume()
        for record in earlier:
            self._ledger.add(record)
            self._ledger.deliver(record)
        self._ledger.flush()
        self._provenance = provenance(resumed, self.records.values())

    @property
    def records(self) -> Mapping[int, Record]:
        """All rows by number."""
        return self._ledger.records

    @property
    def clock(self) -> float:
        """Seconds that this run has used, over all its sessions."""
        return self._clock() - self._origin

    @property
    def told(self) -> int:
        """Trials of the search that cost budget and whose result was told."""
        return self._ledger.told

    @property
    def in_flight(self) -> int:
        """Trials that an executor has and hasn't told."""
        return len(self._attempts.curves)

    def forecast(self) -> Forecast | None:
        """Returns what the rest is expected to take; None before enough trials were timed."""
        return self._times.forecast(self.clock, self.told)

    # What an executor calls

    def ask(self) -> Trial | None:
        """Returns the next trial to run, or None if there is none now (see `idle_seconds`).

        Raises:
            RunError: if too many trials fail, naming the setting to change.
        """
        check_failures(self._ledger, self.max_failures)
        check_zeros(self._ledger, self.settings.max_zeros, self.objective.maximize)
        try:
            trial = self._attempts.start_waiting(self._may_start)
            while trial is None and self._may_propose():
                record = self._propose()
                if record is None:
                    break
                if record.status is Status.ASKED and record.cached_from is None:
                    trial = self._attempts.start(record)
        finally:
            self._ledger.flush()
        return trial

    def idle_seconds(self) -> float | None:
        """Returns how long to wait if nothing is in flight and `ask` gave None; None: finished."""
        return self._attempts.idle_seconds(self._may_start)

    def report(self, trial: Trial, metrics: Metrics) -> bool:
        """Takes what a running trial reports; returns whether it goes on."""
        record = self.records[trial.number]
        stopping, stopper = self.stopping, self._stopper
        if stopping is None or stopper is None or trial.phase == "finalist":
            return True
        if self._attempts.is_late(trial):
            return True
        curve = self._attempts.curves[trial.number]
        self.objective.check(metrics, record.costs)
        if self.objective.not_finite(metrics, record.costs):
            curve.append(math.nan)
            return True  # its end will be a failure, which says more than a stop
        curve.append(self.objective.reward(metrics, record.costs))
        if len(curve) not in stopping.rungs:
            return True
        others = self._rivals.at(len(curve), record, self._attempts.curves)
        return bool(stopper.goes_on(curve[-1], others))

    def tell(self, trial: Trial, outcome: Outcome) -> bool:
        """Takes an attempt's outcome; the first one of each attempt counts.

        Returns:
            Whether the trial is finished now: False if it will be asked again, or if this outcome
            came too late and was ignored.
        """
        record = self.records[trial.number]
        if self._attempts.is_late(trial):
            log.warning("trial %d: a late outcome of attempt %d", trial.number, trial.attempt)
            return False
        outcome = judged(outcome, record, self.objective, self.stopping)
        self._attempts.end(trial)
        self._provenance.note(outcome)
        failure = outcome.failure
        retried = failure is not None and self._attempts.retry(record, failure.kind)
        if not retried:
            self._finish(record, outcome)
        self._ledger.flush()
        return not retried

    def one_commit(self) -> AbstractContextManager[None]:
        """Records all calls inside in one transaction at its end; else each has its own.

        A commit waits for the disk. Whoever tells a result and asks for the next trial at once
        needs only one, if what was asked is started, and what was told is shown, after it.
        """
        return self._ledger.one_commit()

    def release(self) -> None:
        """Takes back what is in flight, when a run is stopped on purpose: that is no failure."""
        self._attempts.release()
        self._ledger.flush()

    def end_if_late(self) -> bool:
        """Ends the search, or its second look, if a budget in time is used up.

        That is so if the time is over, or if nothing is under way and nothing more would be done
        in time. What is under way or waits then counts as never tried.

        Returns:
            Whether it was ended; an executor then ends what still runs.
        """
        clock = self.clock
        if not self._times.is_over(clock) and (self.in_flight or self._times.fits(clock)):
            return False
        running = self.in_flight
        ended = self._attempts.drop(self._is_of_phase)
        for record in ended:
            record.status, record.clock = Status.WITHDRAWN, clock
            self._ledger.touch(record)
            self._settle(record)
        if ended:
            left_out = len(ended) - running
            log.warning("the time is up: %d trials were ended, %d left out", running, left_out)
        self._deliver_finished()
        self._ledger.flush()
        return True

    def close(self) -> None:
        """Ends the search: nothing more is proposed, and what is under way may still be told."""
        self._closed = True

    def start_finalists(self, settings: FinalistSettings) -> int:
        """Ends the search and queues its best for a second look; returns how many trials that is.

        The best distinct candidates of each arm are asked with fresh seeds (repeats 1...). What
        an earlier session has finished or queued is not queued again. Each seed goes round all of
        them, so that all have had as many looks when the time is up.
        """
        self.close()
        self._phase = "finalist"
        self._times.begin_second_look(settings.length)
        if self.end_if_late():
            log.warning("no time is left for a re-evaluation")
            return 0
        for best, repeat in looks_due(self._ledger, settings):
            number = len(self.records)
            record = self._proposer.again(best, number, repeat, settings.length)
            self._ledger.add(record)
            self._attempts.wait(record)
        self._ledger.flush()
        return sum(record.phase == "finalist" for record in self._attempts.waiting())

    # Proposals

    def _may_propose(self) -> bool:
        charged, undelivered = self._ledger.charged, self._ledger.undelivered
        if self._closed or not self._times.fits(self.clock):
            self._deliver_finished()
            return False
        if self.settings.delivery == "proposal":
            # Exactly window - 1 may be open, and results are told in the order of proposals.
            while len(undelivered) >= self.settings.window or (
                undelivered and charged.total() >= self.budget.trials
            ):
                record = self.records[next(iter(undelivered))]
                if record.status is Status.ASKED:
                    return False
                self._ledger.deliver(record)
        return charged.total() < self.budget.trials

    def _deliver_finished(self) -> None:
        """Tells what has waited for results before it, once nothing more is proposed."""
        for record in [self.records[number] for number in self._ledger.undelivered]:
            if record.status is Status.ASKED:
                break  # told in the order of proposals, also at the end
            self._ledger.deliver(record)

    def _propose(self) -> Record | None:
        """Makes the next row; None ends the search, because nothing unseen can be found."""
        number, charged = len(self.records), self._ledger.charged
        due = math.ceil(self.control.share * (charged.total() + 1) - 1e-9)
        arm: Arm = "control" if charged["control"] < due else "controller"
        draft = self._proposer.draft(arm, number)
        if draft is None:
            self.close()
            self._deliver_finished()
            log.warning("the search ends early: no candidate was found that it hasn't tried")
            return None
        record = self._proposer.row(draft, arm, number)
        record.clock = self.clock
        self._ledger.add(record)
        if record.status is not Status.ASKED and self.settings.delivery == "completion":
            self._ledger.deliver(record)
        check_barren(self._ledger, record.failure.message if record.failure else "")
        return record

    # Results

    def _may_start(self, record: Record) -> bool:
        return self._is_of_phase(record) and self._times.fits(self.clock)

    def _is_of_phase(self, record: Record) -> bool:
        return record.phase in ("search", self._phase)

    def _finish(self, record: Record, outcome: Outcome) -> None:
        finish(record, outcome, self.objective, self.clock)
        self._ledger.touch(record)
        self._time(record)
        self._settle(record)

    def _time(self, record: Record) -> None:
        """Times a finished trial of the search."""
        ran = record.status in (Status.DONE, Status.STOPPED, Status.FAILED)
        if ran and record.phase == "search" and record.cached_from is None:
            self._times.add(record.seconds, full=record.status is Status.DONE)

    def _settle(self, record: Record) -> None:
        """Shares a finished row's result, and tells what is due now."""
        waiting = self._ledger.settle(record)
        if record.phase == "finalist" or self.settings.delivery == "completion":
            for row in (record, *waiting):
                self._ledger.deliver(row)

    # Resumption

    def _resume(self) -> list[Record]:
        """Absorbs what is recorded, and queues what was in flight when the driver ended."""
        rows = self._ledger.replay(self.space.decode)
        self._origin -= max((row.clock for row in rows), default=0.0)
        for row in rows:
            self._time(row)
        for row, outcome in left_open(rows, self._attempts):
            if outcome is None:
                self._settle(row)
            else:
                self._finish(row, outcome)
        self._ledger.flush()
        return rows
