"""`nas search`: tries architectures on a part of the data, and scores the best again."""

from __future__ import annotations

import random
import shlex
from collections.abc import Sequence
from pathlib import Path

from nas.config.run_config import keep_config
from nas.config.run_data import keep_data
from nas.config.schema import SearchConfig
from nas.controllers import make_controller
from nas.data.coco import Split, load_split
from nas.data.rules import repeated_pictures
from nas.errors import ConfigError, DataError, RunError
from nas.files import write_text
from nas.genome import Genome
from nas.genome.network import Input
from nas.models.pretrained.initial import Starts, resolve
from nas.models.pretrained.trials import KeptTrials
from nas.planning.costs import GenomeCosts
from nas.planning.feasibility import check_reach
from nas.planning.gpus import on_gpus
from nas.planning.search_plan import budget_text, plan_of, show_plan
from nas.report.formatting import time_text
from nas.report.leaderboard import closing, failed_lines, leaderboard
from nas.runs.folder import Run
from nas.runs.outputs import check_run
from nas.searching import search as search_space
from nas.study.budget import TIMED
from nas.study.interfaces import Event
from nas.study.result import Result
from nas.study.trial import Record
from nas.study.warm_start import check_comparable
from nas.ui.console import console, progress_bar, show_warnings
from nas.ui.data_loading import data_folder, pixels
from nas.ui.search_progress import SearchProgress
from proxies.base import PROXY, Proxy
from search_spaces.base import DetectorSpace
from search_spaces.registry import make_space

STARTS = 64
"""Draws of a space that tell which weights its networks start from."""


def search(config: SearchConfig, folder: Path, *, dry_run: bool = False) -> Result | None:
    """Runs or continues a search, shows its progress, and writes the winner's genome.

    Args:
        config: all settings.
        folder: of the run; typed again, it goes on where it ended.
        dry_run: shows the plan, says whether limits and target can be met, and does nothing.

    Raises:
        NasError: one line that names the setting to change.
    """
    show_warnings()
    check_run(folder)
    root = data_folder(config.data_dir, config.data)
    train = load_split(root, "train")
    classes = 1 + len(train.categories)
    space = make_space(config.space)
    proxy: Proxy = PROXY.make(
        config.proxy,
        root,
        config.data,
        data_seed=config.seed,
        rungs=config.stopping.rungs if config.stopping else (),
    )
    draws = _draws(config, space, proxy)
    proxy.starts = _starts(config, draws)
    costs = GenomeCosts(classes, config.costs.table())
    _check(config, space, proxy, costs)
    if config.warm_start is not None and not Run(folder).store.is_file():
        own = {"space": space.describe(), "evaluator": proxy.describe()}
        check_comparable(config.warm_start, own)
    proxy.splits()  # refuses what would fail every trial
    if proxy.starts.files:
        from nas.models.pretrained.loading import check_fits  # torch, after what needs none

        check_fits(proxy.starts, draws, classes)
    _note_oddities(root, train)
    if dry_run:
        show_plan(config, space, proxy, costs)
    for note in check_reach(config.objective, space, costs, config.seed):
        console.print(f"note: {note}")
    if dry_run:
        return None
    run = Run.make(folder)
    config = on_gpus(config, run, proxy, space, costs)
    proxy.device = "cuda" if config.compute.gpus else "cpu"
    keep = keep_config(run, config)
    keep_data(run, config, train)
    costs.keep(run)
    _begin(run, config)
    _decode(proxy, config, space)
    proxy.prepare_search(run.path)
    with progress_bar() as bar:
        progress = SearchProgress(
            bar, plan_of(config), config.objective.maximize, _finished_trials(run), keep
        )
        result = _searched(run, config, space, proxy, costs, progress)
    keep()
    _finish(run, result, config)
    return result


def _draws(config: SearchConfig, space: DetectorSpace, proxy: Proxy) -> list[Genome]:
    """Returns networks of the space as trials build them, which need all of its sources."""
    rng = random.Random(config.seed)
    return [proxy.scaled(space.sample(rng)) for _ in range(STARTS)]


def _starts(config: SearchConfig, draws: Sequence[Genome]) -> Starts:
    """Returns what trials start from, and shows it.

    Raises:
        RunError: the weights aren't here, or not those that they should be.
    """
    starts = resolve(config.init, draws, console.print)
    console.print(f"trials start from: {starts}" if starts.files else "trials start from scratch")
    return starts


def _check(config: SearchConfig, space: DetectorSpace, proxy: Proxy, costs: GenomeCosts) -> None:
    """Refuses what would end the search, or fail every trial, before anything is written."""
    make_controller(config.controller, space, config.seed)
    genome = space.sample(random.Random(0))
    proxy.scaled(genome).validate()
    _inputs(proxy, space)
    costs.check(space, config.seed)
    of_one = costs(genome)
    config.objective.violations(of_one)
    config.objective.check(dict.fromkeys(proxy.metrics, 0.0), of_one)


def _note_oddities(root: Path, train: Split) -> None:
    """Notes what a search uses all the same, and what the training after it would refuse."""
    val, refused = None, []
    try:
        val = load_split(root, "val", categories=train.categories)
    except DataError as error:
        refused.append(f"nas train refuses this folder: {error}")
    for note in (*repeated_pictures(train, val), *refused):
        console.print(f"note: {note}")


def _begin(run: Run, config: SearchConfig) -> None:
    for change in run.record_environment():
        console.print(f"note: since the last start {change}; metrics may differ in the last digits")
    console.print(
        f"search in {run.path}: {budget_text(config)}, controller {config.controller.name}",
    )
    plan = plan_of(config)
    if plan.is_timed:
        console.print(f"after {TIMED * plan.workers} trials it is known how many there will be")


def _inputs(proxy: Proxy, space: DetectorSpace) -> list[Input]:
    """Returns the inputs that trials have, one for each of the space's.

    Raises:
        ConfigError: two of the space's become one, so that no trial could tell them apart.
    """
    genome = space.sample(random.Random(0))
    scaled = [proxy.scaled(genome.replace(input=source)).input for source in space.inputs]
    sides = [source.size for source in scaled]
    if len(set(sides)) < len(sides):
        raise ConfigError(
            f"proxy.scale makes {sides} px of inputs of {[one.size for one in space.inputs]}; set "
            "proxy.scale.input_factor so that they differ, or space.input_factors to one"
        )
    return scaled


def _decode(proxy: Proxy, config: SearchConfig, space: DetectorSpace) -> None:
    """Decodes the pixels once here, so that workers find them ready and a bar is seen."""
    for source in _inputs(proxy, space):
        decodable = [
            pixels(split, side, source.resize, config.data).decodable(split)
            for split, side in zip(proxy.splits(), proxy.pixel_sides(source.size), strict=True)
        ]
        proxy.refuse_lacking(*decodable)


def _searched(
    run: Run,
    config: SearchConfig,
    space: DetectorSpace,
    proxy: Proxy,
    costs: GenomeCosts,
    progress: SearchProgress,
) -> Result:
    kept = KeptTrials(run, config.objective.maximize, _records(run))

    def on_event(event: Event) -> None:
        progress(event)
        kept(event)

    return search_space(
        space,
        proxy,
        config.controller,
        budget=config.budget,
        seed=config.seed,
        run=run.path,
        objective=config.objective,
        costs=costs,
        compute=config.compute.with_threads(config.proxy.threads),
        settings=config.study_settings,
        warm_start=config.warm_start,
        on_event=on_event,
    )


def _finished_trials(run: Run) -> list[Record]:
    """Returns trials that an earlier start of this run has finished, for the bar to begin with."""
    rows = _records(run)
    return [r for r in rows if r.phase == "search" and r.charged and r.tell_seq is not None]


def _records(run: Run) -> list[Record]:
    """Returns the rows of an earlier start."""
    return run.read_search()[0] if run.store.is_file() else []


def _finish(run: Run, result: Result, config: SearchConfig) -> None:
    plan = plan_of(config)
    if result.best is None and not result.trials and plan.is_timed:
        raise RunError(
            f"{run.path}: no trial was done in {time_text(plan.end)}; raise --budget, or shorten "
            "the proxy (proxy.recipe.epochs, proxy.images)"
        )
    if result.best is None:
        failed = failed_lines(run.read_search()[0])
        why = f": {failed[0]}" if failed else ""
        raise RunError(
            f"{run.path}: no trial has a score{why}; nas top {shlex.quote(str(run.path))} lists "
            "what failed"
        )
    winner = result.best.candidate
    write_text(run.genome, winner.to_json(indent=1) + "\n")
    console.print(leaderboard(result))
    if plan.retraining:
        spent = max((row.clock for row in run.read_search()[0]), default=0.0)
        left = time_text(max(0.0, plan.seconds - spent))
        console.print(f"of {config.budget}, {left} are left for retraining (nas train)")
    console.print(closing(run.path, result, config.data_dir))
