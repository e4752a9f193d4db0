"""`nas.search`: a search over any space with any evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from nas import store
from nas.controllers import Controller, ControllerSettings, make_controller
from nas.errors import ConfigError
from nas.executors import ComputeSettings, make_executor
from nas.objectives import ObjectiveSettings
from nas.result import Result, result_of
from nas.space import Space
from nas.stopping import StoppingSettings
from nas.store import Store
from nas.study import ControlSettings, Costs, FinalistSettings, Study, StudySettings
from nas.trial import Evaluator, OnEvent

Chosen = str | ControllerSettings | Callable[[Space, int], Controller]
"""A controller: its name, its settings, or a class of one's own."""


def search(
    space: Space,
    evaluate: Evaluator,
    controller: Chosen = "ppo",
    *,
    budget: int | str,
    seed: int = 0,
    executor: Literal["inline", "ray"] = "inline",
    run: str | Path | None = None,
    workers: int = 2,
    objective: str | ObjectiveSettings = "score",
    limits: Mapping[str, float] | None = None,
    costs: Costs | None = None,
    control: float = 0.2,
    finalists: FinalistSettings | None = None,
    compute: ComputeSettings | None = None,
    stopping: StoppingSettings | None = None,
    settings: StudySettings | None = None,
    identity: Mapping[str, Any] | None = None,
    on_event: OnEvent | None = None,
) -> Result:
    """Searches a space for the candidate that an evaluator scores best.

    Typed again with the same `run`, it goes on where it ended.

    Args:
        evaluate: called as `evaluate(candidate, seed)`; returns a number or a dict of metrics, or
            yields them rung by rung. For "ray" it must be picklable.
        controller: a name such as "ppo" or "random", or its settings; or a class of your own,
            which is called with the space and the seed.
        budget: trials (120) or time ("8h").
        run: a folder that keeps the run; None keeps it in memory.
        objective: the metric to maximise; a bare number goes by this name.
        limits: upper limits on what `costs` returns for a candidate.
        control: the share of trials that are uniform draws; from 0.5 on an arm of its own.
        finalists: whether, and how, the best are scored again with fresh seeds.
        stopping: ends trials early that fall behind, between the reports that `evaluate` yields.
        compute: all of the machines' settings, in place of `executor` and `workers`.
        identity: further settings that may not change on resumption.

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
    described = {"evaluator": evaluate.describe()} if hasattr(evaluate, "describe") else {}
    with Store.open(None if run is None else store.find(Path(run))) as rows:
        study = Study(
            space,
            _made(controller, space, seed),
            objective,
            rows,
            seed=seed,
            budget=budget,
            control=ControlSettings(share=control),
            settings=settings,
            costs=costs,
            stopping=stopping,
            max_failures=compute.max_failures,
            identity={**described, **(identity or {})},
        )
        with make_executor(compute) as runner:
            runner.run(study, evaluate, on_event)
            if finalists is not None and study.start_finalists(finalists):
                runner.run(study, evaluate, on_event)
        return result_of(study.records.values(), objective)


def _made(controller: Chosen, space: Space, seed: int) -> Controller:
    if isinstance(controller, str):
        controller = ControllerSettings(name=controller)
    if isinstance(controller, ControllerSettings):
        return make_controller(controller, space, seed)
    if not callable(controller):
        raise ConfigError(
            f"controller: {controller!r} can't be called; give the class itself, or a name"
        )
    return controller(space, seed)
