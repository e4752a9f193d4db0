"""Trials in this process, one after the other: nothing to start, and no port opened."""

from __future__ import annotations

import time
from typing import Literal, Self

from nas.executors.interrupt import interruptible
from nas.executors.settings import ComputeSettings
from nas.executors.worker import evaluate, pinned_threads, prepare
from nas.study import Study
from nas.trial import Evaluator, Event, OnEvent, Outcome, Trial


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
        """Nothing was started."""

    def run(self, study: Study, evaluator: Evaluator, on_event: OnEvent | None = None) -> None:
        """Runs every trial that the study gives; see `nas.executors.Executor.run`."""
        notify = on_event or (lambda event: None)
        with pinned_threads(self._compute.threads), interruptible(study):
            prepare(evaluator)
            while not study.end_if_late():
                trial = study.ask()
                if trial is not None:
                    notify(Event("asked", trial))
                    self._run_trial(study, evaluator, trial, notify)
                elif (wait := study.idle_seconds()) is None:
                    return
                else:
                    time.sleep(wait)

    def _run_trial(self, study: Study, evaluator: Evaluator, trial: Trial, notify: OnEvent) -> None:
        reports = evaluate(
            evaluator,
            trial.candidate,
            trial.seed,
            length=trial.length,
            metric=study.objective.maximize,
            threads=self._compute.threads,
            timeout=self._compute.timeout,
        )
        report = next(reports)
        while not isinstance(report, Outcome):
            notify(Event("rung", trial, report))
            if study.end_if_late():
                return
            report = reports.send(study.report(trial, report))
        finished = study.tell(trial, report)
        kind: Literal["told", "retry"] = "told" if finished else "retry"
        notify(Event(kind, trial, report.metrics, report.failure, report.stopped))
