"""`nas.search`: a search over any space with any evaluator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from nas.controllers import Controller, ControllerSettings, make_controller
from nas.errors import ConfigError
from nas.executors import ComputeSettings, make_executor
from nas.executors.gpu_share import fit_to_gpus, largest_candidate
from nas.space import Space
from nas.study import store
from nas.study.interfaces import Evaluator, Event, OnEvent
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs
from nas.study.result import Result, result_of
from nas.study.settings import StudySettings
from nas.study.store import Store
from nas.study.study import Study

Chosen = str | ControllerSettings | Callable[[Space, int], Controller]
"""A controller: its name, its settings, or a class that is called with the space and the seed."""


def search(
    space: Space,
    evaluate: Evaluator,
    controller: Chosen = "predictor",
    *,
    budget: int | str,
    seed: int = 0,
    executor: Literal["inline", "ray"] = "inline",
    run: str | Path | None = None,
    workers: int = 2,
    objective: str | ObjectiveSettings = "score",
    limits: Mapping[str, float] | None = None,
    costs: Costs | None = None,
    settings: StudySettings | None = None,
    compute: ComputeSettings | None = None,
    identity: Mapping[str, Any] | None = None,
    warm_start: str | Path | None = None,
    evaluator_version: str | None = None,
    on_event: OnEvent | None = None,
) -> Result:
    """Searches a space for the candidate that an evaluator scores best.

    Called again with the same `run`, it goes on where it ended.

    Args:
        space: What is searched.
        evaluate: called as `evaluate(candidate, seed)`; returns a number or a dict of metrics, or
            yields them rung by rung. For "ray" it must be picklable.
        controller: a name such as "predictor" or "random", or its settings; or a class of your own,
            which is called with the space and the seed.
        budget: trials (120), or time ("8h") for trials and finalists together: a trial that can't
            be expected to be done by then isn't begun, and one that still runs is ended and counts
            as never tried.
        seed: of the control arm, of a named controller and of the trials.
        executor: "inline" runs trials in this process, "ray" in several.
        run: a folder that keeps the run; None keeps it in memory.
        workers: processes that "ray" runs trials in.
        objective: the metric to maximise; a bare number goes by this name.
        limits: upper limits on what `costs` returns for a candidate.
        costs: called as `costs(candidate)`; returns numbers by their names.
        settings: of the search itself (`nas.study.settings`): `control`, the share of trials that
            are uniform draws; `finalists`, whether and how the best are scored again with fresh
            seeds; `stopping`, which ends trials early between the reports that `evaluate` yields;
            `retrain_share` of a budget in time, which isn't used here.
        compute: all of the machines' settings, in place of `executor` and `workers`. For its
            `gpus_per_worker: auto`, an `evaluate` whose attribute `device` is "cuda" is run once
            more, before the search.
        identity: further settings that may not change on resumption.
        warm_start: another run of this space and evaluator, whose results count here: what it has
            scored isn't run again, may win, and is told to the controller before it proposes.
            A run that goes on has them already.
        evaluator_version: your own name for what `evaluate` does, such as "2: 9 epochs". Results
            are shared between runs only where it is the same; needed for that where `evaluate` has
            no `describe()`.
        on_event: called with each `Event`, such as a trial's end.

    Raises:
        NasError: one line that names the setting to change.

    Example:
        >>> space = ChoiceSpace({"layer0": [0, 1, 2], "layer1": [0, 1, 2]})
        >>> search(space, lambda c, seed: c["layer0"], "random", budget=9).best.candidate["layer0"]
        2
    """
    compute = compute or ComputeSettings(executor=executor, workers=workers)
    if isinstance(objective, str):
        objective = ObjectiveSettings(maximize=objective)
    if limits is not None:
        objective = ObjectiveSettings(**objective.model_dump() | {"limits": dict(limits)})
    compute = fit_to_gpus(
        compute, evaluate, lambda: largest_candidate(space, objective, costs, seed)
    )
    described = {"evaluator": evaluate.describe()} if hasattr(evaluate, "describe") else {}
    if evaluator_version is not None:
        described["evaluator_version"] = evaluator_version
    with Store.open(None if run is None else store.find(Path(run))) as rows:
        study = Study(
            space,
            _make(controller, space, seed),
            objective,
            rows,
            settings,
            seed=seed,
            budget=budget,
            workers=compute.at_once,
            max_failures=compute.max_failures,
            costs=costs,
            identity={**described, **(identity or {})},
            warm_start=None if warm_start is None else Path(warm_start),
        )
        notify = None if on_event is None else _with_forecast(study, on_event)
        with make_executor(compute) as runner:
            runner.run(study, evaluate, notify)
            finalists = study.settings.finalists
            if finalists is not None and study.start_finalists(finalists):
                runner.run(study, evaluate, notify)
        return result_of(study.records.values(), objective)


def _with_forecast(study: Study, on_event: OnEvent) -> OnEvent:
    """Returns a function that adds the study's forecast to events of completed trials."""

    def notify(event: Event) -> None:
        if event.kind == "completed":
            event = dataclasses.replace(event, forecast=study.forecast())
        on_event(event)

    return notify


def _make(controller: Chosen, space: Space, seed: int) -> Controller:
    """Makes the controller of a name, of settings, or of a class.

    Raises:
        ConfigError: if it is none of these.
    """
    if isinstance(controller, str):
        controller = ControllerSettings(name=controller)
    if isinstance(controller, ControllerSettings):
        return make_controller(controller, space, seed)
    if not callable(controller):
        raise ConfigError(
            f"controller: {controller!r} can't be called; give the class itself, or a name"
        )
    return controller(space, seed)
