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
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.controllers.base import Controller
from nas.errors import ConfigError, RunError
from nas.space import Space
from nas.study.budget import Budget, Forecast, Timetable
from nas.study.failures import Failure, FailureKind, check_failures, check_feasible, check_zeros
from nas.study.finalists import due_reevaluations
from nas.study.history import History
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs, Proposer
from nas.study.resume import Identity, claim, left_open, provenance
from nas.study.running import Attempts
from nas.study.settings import FinalistSettings, StudySettings
from nas.study.stopping import Rivals, make_stopper
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
        settings: StudySettings | None = None,
        *,
        seed: int,
        budget: int | str,
        workers: int = 1,
        max_failures: float = 0.3,
        costs: Costs | None = None,
        identity: Mapping[str, Any] | None = None,
        warm_start: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens a study on a store, new or with rows.

        Args:
            space: what is searched.
            controller: proposes.
            objective: what is searched for.
            store: keeps the run.
            settings: of arms, re-evaluation, early stopping and delivery; None for the defaults.
            seed: the run's seed.
            budget: trials (120), or time ("8h").
            workers: trials that will be under way at once.
            max_failures: the share of failed trials above which the run stops.
            costs: computes params, MACs, ... of a candidate as deployed, before any training.
            identity: further settings that may not change on resumption: data, evaluator.
            warm_start: another run, whose results a new one begins with (`nas.study.warm_start`).
            clock: seconds that never go back.

        Raises:
            ConfigError: if trials are to be stopped in a search that spreads along the front.
            RunError: if the store was begun with other settings, naming the field; or the other
                run's results can't be used here.
        """
        settings = self.settings = settings or StudySettings()
        if settings.stopping is not None and objective.spread:
            raise ConfigError(
                "objective.spread: a stopped trial has no place on the front; leave out stopping"
            )
        self.space, self.objective, self.store, self.seed = space, objective, store, seed
        self.budget, self.max_failures = Budget.parse(budget), max_failures
        self._stopper = None if settings.stopping is None else make_stopper(settings.stopping)
        self._timetable = Timetable(self.budget.plan(settings, workers))
        self._phases: tuple[Phase, ...] = ("search",)  # what may be started now
        self._is_closed = False

        # The store becomes this run's, or is refused, before anything is read from it.
        costs = costs or (lambda candidate: {})
        mine = Identity(space, controller, objective, settings, seed, identity or {})
        begin_with = claim(store, mine, warm_start, costs)

        self._history = History(store, controller, objective, settings)
        self._proposer = Proposer(
            space, controller, objective, settings, self._history, seed, costs
        )
        self._rivals = Rivals(
            self.records,
            objective,
            across=not settings.control.is_full_arm,
            delivered_before=settings.delivery == "proposal",
        )
        self._clock, self._origin = clock, clock()
        self._attempts = Attempts(self._history, lambda: self.clock, settings.backoff)

        # What is recorded is absorbed; only a run without rows begins with a warm start's.
        resumed = self._resume()
        for record in begin_with:
            self._history.add(record)
            self._history.deliver(record)
        self._history.flush()
        self._provenance = provenance(resumed, self.records.values())

    @property
    def records(self) -> Mapping[int, Record]:
        """All rows by number."""
        return self._history.records

    @property
    def clock(self) -> float:
        """Seconds that this run has used, over all its sessions."""
        return self._clock() - self._origin

    @property
    def completed(self) -> int:
        """Trials of the search that cost budget and whose result was delivered."""
        return self._history.completed

    @property
    def in_flight(self) -> int:
        """Trials that an executor has and hasn't told."""
        return len(self._attempts.curves)

    def forecast(self) -> Forecast | None:
        """Returns what the rest is expected to take; None before enough trials were timed."""
        return self._timetable.forecast(self.clock, self.completed)

    # From a proposal to its result: what an executor calls for each trial

    def ask(self) -> Trial | None:
        """Returns the next trial to run, or None if there is none now (see `idle_seconds`).

        Raises:
            RunError: if too many trials fail, naming the setting to change.
        """
        check_failures(self._history, self.max_failures)
        check_zeros(self._history, self.settings.max_zeros, self.objective.maximize)
        try:
            trial = self._attempts.start_waiting(self._may_start)
            while trial is None and (record := self._propose()) is not None:
                # A duplicate or an infeasible proposal has its result, or waits for it.
                if record.status is Status.ASKED and record.cached_from is None:
                    trial = self._attempts.start(record)
        finally:
            self._history.flush()
        return trial

    def report(self, trial: Trial, metrics: Metrics) -> bool:
        """Takes what a running trial reports; returns whether it goes on."""
        record, stopping = self.records[trial.number], self.settings.stopping
        if stopping is None or self._stopper is None or trial.phase == "finalist":
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
        return bool(self._stopper.goes_on(curve[-1], others))

    def tell(self, trial: Trial, outcome: Outcome) -> bool:
        """Takes an attempt's outcome; the first one of each attempt counts.

        Returns:
            Whether the trial is finished now: False if it will be asked again, or if this outcome
            came too late and was ignored.

        Raises:
            RunError: if the outcome can't be used at all, naming the setting to change.
        """
        record = self.records[trial.number]
        if self._attempts.is_late(trial):
            log.warning("trial %d: a late outcome of attempt %d", trial.number, trial.attempt)
            return False

        # 1. Judge it. What is refused here leaves the attempt under way, to be taken back.
        outcome = self._judge(outcome, record)
        self._attempts.end(trial)
        self._provenance.note(outcome)

        # 2. A failure is tried again as often as the rule of its kind says.
        if outcome.failure and self._attempts.retry(record, outcome.failure.kind):
            self._history.flush()
            return False

        # 3. Else the outcome is the row's, and its duplicates'; it is delivered now, or in turn.
        self._finish(record, outcome)

        # 4. Row, duplicates and delivery are one transaction: a resumed run finds all or nothing.
        self._history.flush()
        return True

    def _judge(self, outcome: Outcome, record: Record) -> Outcome:
        """Returns an outcome, or a failure if a number of the objective isn't finite."""
        if outcome.failure is not None:
            return outcome
        stops = self.settings.stopping is not None
        if stops and record.phase == "search" and not outcome.curve:
            raise RunError(
                "stopping: the evaluator returns one result; let it yield metrics as it trains"
            )
        self.objective.check(outcome.metrics, record.costs)
        for metrics in (outcome.metrics, *(outcome.curve if stops else ())):
            if broken := self.objective.not_finite(metrics, record.costs):
                message = ", ".join(f"{name} is {value}" for name, value in broken.items())
                return replace(outcome, failure=Failure(FailureKind.NOT_FINITE, message))
        self.objective.reward(outcome.metrics, record.costs)  # raises what the shape can't take
        return outcome

    def _finish(self, record: Record, outcome: Outcome) -> None:
        """Makes an outcome a row's result."""
        ok = outcome.failure is None
        reward = self.objective.reward(outcome.metrics, record.costs) if ok else None
        record.finish(outcome, reward, self.clock)
        self._history.touch(record)
        self._time(record)
        self._settle(record)

    def _settle(self, record: Record) -> None:
        """Shares a finished row's result with its duplicates, and delivers what is due now."""
        duplicates = self._history.share(record)
        # By delivery "proposal" a trial of the search waits until the next proposal needs it.
        if record.phase == "finalist" or self.settings.delivery == "completion":
            for row in (record, *duplicates):
                self._history.deliver(row)

    def _time(self, record: Record) -> None:
        """Tells the timetable how long a trial of the search took."""
        if record.has_run:
            self._timetable.add(record.seconds, full=record.status is Status.DONE)

    # Proposals

    def _propose(self) -> Record | None:
        """Makes the next row; None if there is none now, or none any more."""
        if self._is_closed or not self._timetable.fits(self.clock):
            self._deliver_in_order(lambda: True)  # nothing more will be proposed after these
            return None
        # By delivery "proposal", results that the next proposal is to know of come first.
        self._deliver_in_order(self._is_window_full)
        if self._is_window_full() or self._history.charged.total() >= self.budget.trials:
            return None

        arm, number = self._next_arm(), len(self.records)
        draft = self._proposer.draft(arm, number)
        if draft is None:
            self.close()
            self._deliver_in_order(lambda: True)
            log.warning("the search ends early: no candidate was found that it hasn't tried")
            return None
        record = self._proposer.row(draft, arm, number)
        record.clock = self.clock
        self._history.add(record)
        if record.status is not Status.ASKED and self.settings.delivery == "completion":
            self._history.deliver(record)
        check_feasible(self._history, record.failure.message if record.failure else "")
        return record

    def _next_arm(self) -> Arm:
        """Returns the control arm as soon as its share of the trials is due, else the other."""
        charged, share = self._history.charged, self.settings.control.share
        due = math.ceil(share * (charged.total() + 1) - 1e-9)
        return "control" if charged["control"] < due else "controller"

    def _is_window_full(self) -> bool:
        """Whether, by delivery "proposal", a result has to be delivered before a proposal.

        Exactly window - 1 results are open then, and at the end of the budget none: a delivery may
        give back what its trial cost.
        """
        if self.settings.delivery != "proposal":
            return False
        is_spent = self._history.charged.total() >= self.budget.trials
        undelivered = len(self._history.undelivered)
        return undelivered >= self.settings.window or (undelivered > 0 and is_spent)

    def _deliver_in_order(self, due: Callable[[], bool]) -> None:
        """Delivers results in the order of their proposals, up to the first that is to come.

        Args:
            due: whether one more should be.
        """
        undelivered = self._history.undelivered
        while undelivered and due():
            record = self.records[next(iter(undelivered))]
            if record.status is Status.ASKED:
                break
            self._history.deliver(record)

    # The search as a whole: waiting, ending, re-evaluation, resumption

    def _may_start(self, record: Record) -> bool:
        """Whether a waiting trial may be started now."""
        return record.phase in self._phases and self._timetable.fits(self.clock)

    def idle_seconds(self) -> float | None:
        """Returns seconds until a waiting trial may be started; None if there is none."""
        return self._attempts.idle_seconds(self._may_start)

    def one_commit(self) -> AbstractContextManager[None]:
        """Records all calls inside in one transaction at its end; else each has its own.

        A commit waits for the disk. An executor that starts what it asked, and shows what it
        told, after the commit needs but one for both.
        """
        return self._history.one_commit()

    def release(self) -> None:
        """Takes back what is in flight, when a run is stopped on purpose: that is no failure."""
        self._attempts.release()
        self._history.flush()

    def end_if_late(self) -> bool:
        """Ends the search, or its re-evaluation, if a budget in time is used up.

        That is so if the time is over, or if nothing is under way and nothing more would be done
        in time. What is under way or waits then counts as never tried.

        Returns:
            Whether it was ended: an executor then ends what still runs.
        """
        clock = self.clock
        running = self.in_flight
        if not self._timetable.is_over(clock) and (running or self._timetable.fits(clock)):
            return False
        ended = self._attempts.drop(lambda record: record.phase in self._phases)
        for record in ended:
            record.status, record.clock = Status.WITHDRAWN, clock
            self._history.touch(record)
            self._settle(record)
        if ended:
            waited = len(ended) - running
            log.warning("the time is up: %d trials were ended, %d left out", running, waited)
        self._deliver_in_order(lambda: True)
        self._history.flush()
        return True

    def close(self) -> None:
        """Ends the search: nothing more is proposed, and what is under way may still be told."""
        self._is_closed = True

    def start_finalists(self, settings: FinalistSettings) -> int:
        """Ends the search and queues its best for re-evaluation; returns how many trials that is.

        The best of each arm are asked with fresh seeds, but for what was finished or queued before.
        """
        self.close()
        self._phases = ("search", "finalist")
        self._timetable.begin_reevaluation(settings.length)
        if self.end_if_late():
            log.warning("no time is left for a re-evaluation")
            return 0
        for best, repeat in due_reevaluations(self._history, settings):
            number = len(self.records)
            record = self._proposer.reevaluation(best, number, repeat, settings.length)
            self._history.add(record)
            self._attempts.wait(record)
        self._history.flush()
        return sum(record.phase == "finalist" for record in self._attempts.waiting())

    def _resume(self) -> list[Record]:
        """Absorbs what is recorded, and queues what was in flight when the driver ended."""
        rows = self._history.replay(self.space.decode)
        # The run's own clock goes on where its last row stopped it.
        self._origin -= max((row.clock for row in rows), default=0.0)
        for row in rows:
            self._time(row)
        for row, outcome in left_open(rows, self._attempts):
            if outcome is None:
                self._settle(row)
            else:
                self._finish(row, outcome)
        self._history.flush()
        return rows
