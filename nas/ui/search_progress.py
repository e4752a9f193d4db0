"""The progress of a search: a bar for the trials, one for the re-evaluation, and the forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from rich.progress import Progress, TaskID

from nas.report.formatting import ARMS, time_text
from nas.study.budget import Forecast, Plan
from nas.study.interfaces import Event
from nas.study.trial import Record, Status
from nas.ui.console import say_in_logs


class SearchProgress:
    """Draws the bar of a search from the study's events.

    Args:
        bar: to be drawn on.
        plan: of the search's budget.
        metric: that the search maximises.
        finished: trials of an earlier start.
        keep: called at each event, by which the run has accepted its settings.
    """

    def __init__(
        self,
        bar: Progress,
        plan: Plan,
        metric: str,
        finished: Sequence[Record],
        keep: Callable[[], None],
    ) -> None:
        self.bar, self.plan, self.metric, self.keep = bar, plan, metric, keep
        total = None if self.plan.is_timed else self.plan.trials
        task = bar.add_task("trials", total=total, completed=len(finished), note="")
        self.tasks: dict[str, TaskID] = {"search": task}
        done = [row.metrics for row in finished if row.status is Status.DONE]
        scores = [metrics[self.metric] for metrics in done if self.metric in metrics]
        self.best: dict[str, float] = {"search": max(scores)} if scores else {}
        self.over = ""

    def __call__(self, event: Event) -> None:
        """Shows what an event changes."""
        self.keep()
        phase = event.trial.phase
        if phase not in self.tasks:
            self.bar.update(self.tasks["search"], total=self.bar.tasks[0].completed)
            self.tasks[phase] = self.bar.add_task(
                "re-evaluation", total=self.plan.reevaluations, note=""
            )
        if event.kind == "completed":
            self._finished(event)

    def _finished(self, event: Event) -> None:
        self._forecast(event)
        trial, phase = event.trial, event.trial.phase
        score = event.metrics.get(self.metric)
        if score is not None and not event.stopped:  # a stopped trial's is of a shorter training
            self.best[phase] = max(score, self.best.get(phase, score))
        best = self.best.get(phase)
        note = f"best {self.metric} {best:.3f}{self.over}" if best is not None else ""
        if event.failure is not None:
            self.bar.console.print(f"trial {trial.number}: {event.failure.message}")
        self.bar.update(self.tasks[phase], advance=1, note=note)
        result = "failed" if score is None else f"{self.metric} {score:.3f}"
        result = f"stopped early at {result}" if event.stopped else result
        result += f"; {note}" if note else ""
        say_in_logs(f"trial {trial.number} ({ARMS[trial.arm]}): {result}")

    def _forecast(self, event: Event) -> None:
        """Shows what the rest is expected to take: the first time in a line, then in the bar."""
        if event.forecast is None:
            return
        now = datetime.now().astimezone()
        if not self.over:
            self.bar.console.print(f"forecast: {forecast_text(event.forecast, now)}")
        self.over = f", {over_text(event.forecast, now)}"
        self.bar.update(self.tasks["search"], total=event.forecast.trials)


def forecast_text(forecast: Forecast, now: datetime) -> str:
    """Returns `118 trials, then a re-evaluation of 24 min, over at 17:45; 3 h 12 min stay …`."""
    seconds = forecast.reevaluation
    then = f", then a re-evaluation of {time_text(seconds)}" if seconds else ""
    kept = f"; {time_text(forecast.retrain)} stay for retraining" if forecast.retrain else ""
    return f"{forecast.trials} trials{then}, {over_text(forecast, now)}{kept}"


def over_text(forecast: Forecast, now: datetime) -> str:
    """Says when all is over, by local time: `over at 17:45`; another day is named."""
    end = now + timedelta(seconds=forecast.left)
    return f"over at {end:%H:%M}" if end.date() == now.date() else f"over at {end:%d %b, %H:%M}"
