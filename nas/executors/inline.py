"""The executor that runs trials in this process, one after the other, and opens no port."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple, Self

from nas.executors.interrupt import interruptible
from nas.executors.settings import ComputeSettings
from nas.executors.worker import evaluate, pinned_threads, prepare
from nas.study.interfaces import Evaluator, Event, OnEvent
from nas.study.study import Study
from nas.study.trial import Outcome, Trial

BRIEF = 0.1
"""Seconds below which a trial is brief: its result shares a commit with the next proposal. A longer
trial's result is recorded at once, since the controller may take a while to propose."""


class InlineExecutor:
    """Runs a study's trials in this process.

    Example:
        >>> InlineExecutor(ComputeSettings(executor="inline")).run(study, evaluate)
    """

    def __init__(self, compute: ComputeSettings | None = None) -> None:
        self._compute = compute or ComputeSettings(executor="inline")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing, since nothing was started."""

    def run(self, study: Study, evaluator: Evaluator, on_event: OnEvent | None = None) -> None:
        """Runs every trial that the study gives; see `nas.executors.Executor.run`."""
        notify = on_event or (lambda event: None)
        with pinned_threads(self._compute.threads), interruptible(study):
            prepare(evaluator)
            ended: _Ended | None = None
            while True:
                trial = self._exchange(study, ended, notify)
                if trial is not None:
                    ended = self._run_trial(study, evaluator, trial, notify)
                elif (wait := study.idle_seconds()) is None:
                    return
                else:
                    ended = None
                    time.sleep(wait)

    def _exchange(self, study: Study, ended: _Ended | None, notify: OnEvent) -> Trial | None:
        """Tells the study of the trial that ended, and asks for the next one.

        An event is shown only once it is recorded, so that nothing shown can be lost.
        """
        if ended is not None and ended.outcome.seconds >= BRIEF:
            notify(self._tell(study, *ended))
            ended = None
        with study.one_commit():
            event = None if ended is None else self._tell(study, *ended)
            trial = None if study.end_if_late() else study.ask()
        if event is not None:
            notify(event)
        if trial is not None:
            notify(Event("asked", trial))
        return trial

    def _tell(self, study: Study, trial: Trial, outcome: Outcome) -> Event:
        kind: Literal["completed", "retry"] = "completed" if study.tell(trial, outcome) else "retry"
        return Event(kind, trial, outcome.metrics, outcome.failure, outcome.stopped)

    def _run_trial(
        self, study: Study, evaluator: Evaluator, trial: Trial, notify: OnEvent
    ) -> _Ended | None:
        """Runs a trial to its end; returns None if the budget's time was up before."""
        reports = evaluate(
            evaluator,
            trial.candidate,
            trial.seed,
            length=trial.length,
            repeat=trial.repeat,
            metric=study.objective.maximize,
            threads=self._compute.threads,
            timeout=self._compute.timeout,
        )
        report = next(reports)
        while not isinstance(report, Outcome):
            notify(Event("rung", trial, report))
            if study.end_if_late():
                return None
            report = reports.send(study.report(trial, report))
        return _Ended(trial, report)


class _Ended(NamedTuple):
    """A trial that ran to its end, with its outcome."""

    trial: Trial
    outcome: Outcome
