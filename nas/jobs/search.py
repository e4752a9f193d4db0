"""`nas search`: tries architectures on a part of the data, and scores the best again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress, TaskID

from nas.config import SearchConfig
from nas.cost import profile
from nas.data.coco import load_split
from nas.errors import RunError
from nas.jobs.folders import data_folder, pixels
from nas.jobs.kept import keep_config
from nas.jobs.screen import console, progress_bar, say_in_logs, show_warnings
from nas.jobs.search_plan import budget_text, show_plan
from nas.report.leaderboard import ARMS, closing, leaderboard, read
from nas.result import Result
from nas.runs import Run, write_text
from nas.searching import search as search_space
from nas.study import Budget
from nas.trial import Event
from proxies.training import TrainingProxy
from search_spaces.spinenet import SpineNetSpace


def search(config: SearchConfig, folder: Path, *, dry_run: bool = False) -> Result | None:
    """Runs or continues a search, shows its progress, and writes the winner's genome.

    Args:
        config: all settings.
        folder: of the run; typed again, it goes on where it ended.
        dry_run: shows the plan and does nothing.

    Raises:
        NasError: one line that names the setting to change.
    """
    show_warnings()
    root = data_folder(config.data_dir, config.data)
    classes = 1 + len(load_split(root, "train").categories)
    space = SpineNetSpace(config.space)
    device = "cuda" if config.compute.gpus_per_worker else "cpu"
    proxy = TrainingProxy(
        config.proxy,
        root,
        config.data,
        data_seed=config.seed,
        device=device,
        rungs=config.stopping.rungs if config.stopping else (),
    )
    # A scale that can't be built is one line now, not a failure of every trial later.
    space.sample(random.Random(0)).scaled(**config.proxy.scale.model_dump()).validate()
    if dry_run:
        show_plan(config, space, proxy, classes)
        return None
    run = Run.make(folder)
    keep = keep_config(run, config)
    _begin(run, config)
    _decode(proxy, config)
    with progress_bar() as bar:
        result = _searched(
            run, config, space, proxy, classes, _Progress(bar, config, _finished(run), keep)
        )
    keep()
    _finish(run, result, config)
    return result


def _begin(run: Run, config: SearchConfig) -> None:
    for change in run.record_environment():
        console.print(f"note: since the last start {change}; metrics may differ in the last digits")
    console.print(
        f"search in {run.path}: {budget_text(config)}, controller {config.controller.name}",
        markup=False,
    )


def _decode(proxy: TrainingProxy, config: SearchConfig) -> None:
    """Decodes the pixels once here, so that workers find them ready and a bar is seen."""
    size = config.proxy.scale.input_size or config.space.deploy.input_size
    for split in proxy.splits():
        pixels(split, size, "letterbox", config.data)


def _searched(
    run: Run,
    config: SearchConfig,
    space: SpineNetSpace,
    proxy: TrainingProxy,
    classes: int,
    progress: _Progress,
) -> Result:
    return search_space(
        space,
        proxy,
        config.controller,
        budget=config.budget,
        seed=config.seed,
        run=run.path,
        objective=config.objective,
        costs=lambda genome: profile(genome, num_classes=classes).costs(),
        control=config.control.share,
        finalists=config.finalists,
        compute=config.compute.model_copy(update={"threads": config.proxy.threads}),
        stopping=config.stopping,
        settings=config.study,
        on_event=progress,
    )


def _finished(run: Run) -> int:
    """Trials that an earlier start of this run has finished, for the bar to begin with."""
    if not run.store.is_file():
        return 0
    records, _ = read(run.path)
    return sum(r.phase == "search" and r.charged and r.tell_seq is not None for r in records)


def _finish(run: Run, result: Result, config: SearchConfig) -> None:
    if result.best is None:
        raise RunError(f"{run.path}: no trial has a score; nas top {run.path} shows what failed")
    winner = result.best.candidate
    write_text(run.genome, winner.to_json(indent=1) + "\n")
    console.print(leaderboard(result))
    console.print(closing(run.path, result, config.data_dir))


class _Progress:
    """Draws the bar of a search from the engine's events."""

    def __init__(
        self, bar: Progress, config: SearchConfig, finished: int, keep: Callable[[], None]
    ) -> None:
        self.bar, self.metric, self.keep = bar, config.objective.maximize, keep
        budget = Budget.parse(config.budget)
        total = None if budget.trials == float("inf") else budget.trials
        task = bar.add_task("trials", total=total, completed=finished, note="")
        self.tasks: dict[str, TaskID] = {"search": task}
        self.best: dict[str, float] = {}
        finalists = config.finalists
        self.second_look = finalists.count * finalists.repeats
        self.arms = 2 if config.control.share > 0 else 1

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        self.keep()
        phase = event.trial.phase
        if phase not in self.tasks:
            self.bar.update(self.tasks["search"], completed=self.bar.tasks[0].total)
            self.tasks[phase] = self.bar.add_task(
                "second look", total=self.second_look * self.arms, note=""
            )
        if event.kind == "told":
            score = event.metrics.get(self.metric)
            if score is not None:
                self.best[phase] = max(score, self.best.get(phase, score))
            best = self.best.get(phase)
            note = f"best {self.metric} {best:.3f}" if best is not None else ""
            if event.failure is not None:
                self.bar.console.print(
                    f"trial {event.trial.number}: {event.failure.message}", markup=False
                )
            self.bar.update(self.tasks[phase], advance=1, note=note)
            said = "failed" if score is None else f"{self.metric} {score:.3f}"
            say_in_logs(f"trial {event.trial.number} ({ARMS[event.trial.arm]}): {said}; {note}")
