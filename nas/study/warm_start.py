"""A warm start: what another run has scored, as the rows that a new run begins with.

They are copied once, so that the new run's store stays the whole truth: resuming it replays them,
and the other run may be gone.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.changes import contrast
from nas.errors import GenomeError, RunError
from nas.space import Space
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs
from nas.study.store import Store, find, plain
from nas.study.trial import Record, Status

FREE = frozenset(
    ("controller", "objective", "control", "delivery", "seed", "stopping", "warm_start")
)
"""Settings in which the two runs may differ, since what a trial measures doesn't depend on them."""
EVALUATOR = frozenset(("evaluator", "evaluator_version"))
"""Settings of which one at least must say how trials are scored."""


def origin(named: Path | None, store: Store) -> Path | None:
    """Returns the store of the run that a search starts from: as named, or as it began.

    Raises:
        RunError: if the search has begun already, without that run.
    """
    kept = store.settings
    began = kept.get("warm_start")
    if named is None:
        return None if began is None else Path(began)
    path = find(named).resolve()
    if kept and began != str(path):
        how = "without a warm start" if began is None else f"with what {began} had scored"
        raise RunError(
            f"{store.path}: this run began {how}; leave out the warm start, or start a new run"
        )
    return path


def check_comparable(run: Path, settings: Mapping[str, Any]) -> None:
    """Checks that a run's results can be used by a search with other settings of its own.

    Args:
        run: a folder, or a store.
        settings: the new search's space, evaluator, and what else `nas.study.store` keeps of it.

    Raises:
        RunError: if they can't, naming the first setting that differs; or there is no such run.
    """
    with Store.open_readonly(find(run)) as store:
        _compared(store, plain(settings))


def warm_start_rows(
    run: Path,
    settings: Mapping[str, Any],
    space: Space,
    objective: ObjectiveSettings,
    costs: Costs,
) -> list[Record]:
    """Returns what a run has scored as the first rows of a new one, in the order of its results.

    Candidates, keys and costs are made anew from the codes, and rewards by this search's objective.
    Failures and re-evaluations are left out, and so is what this search's limits forbid. What was
    stopped, and the curves by which others are, come only from a run with the same `stopping`.

    Args:
        run: a folder, or a store.
        settings: the new search's, as of `check_comparable`.
        space: decodes the codes.
        objective: makes rewards of the metrics.
        costs: computes params, MACs, ... of a candidate as deployed.

    Raises:
        RunError: besides what `check_comparable` refuses, if the run is damaged, lacks a metric,
            or leaves nothing.
    """
    settings, path = plain(settings), find(run)
    with Store.open_readonly(path) as store:
        theirs, rows = _compared(store, settings), _scored(store)
    if theirs.get("stopping") != settings.get("stopping"):
        rows = [replace(row, curve=()) for row in rows if row.status is Status.DONE]
    chosen: dict[str, Record] = {}
    for row in sorted(rows, key=lambda row: (row.tell_seq or math.inf, row.number)):
        source = f"{path}: trial {row.number}"
        candidate = _candidate(row, space, source)
        key, deployed = space.key(candidate), dict(costs(candidate))
        # Of one candidate's results the first counts, as it would have in this search.
        if key in chosen or objective.violations(deployed):
            continue
        reward = _reward(row, deployed, objective, source)
        if reward is None:
            continue
        chosen[key] = replace(
            row,
            number=len(chosen),
            phase="earlier",
            arm="controller",
            source="uniform",
            key=key,
            kept_json=None,
            costs=deployed,
            reward=reward,
            charged=False,
            tell_seq=None,
            seconds=0.0,
            clock=0.0,
            decode=space.decode,
        )
    if not chosen:
        raise RunError(
            f"{path}: has no result for this search; name another run, or start without one"
        )
    return list(chosen.values())


def _compared(store: Store, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a run, which agree with a new search's."""
    if not settings.keys() & EVALUATOR:
        raise RunError(
            f"{store.path}: nothing says that it was scored as this search scores; give both an "
            'evaluator_version="…", or the evaluator a describe()'
        )
    try:
        theirs = dict(store.settings)
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise RunError(f"{store.path}: damaged ({error}); name another run") from None
    there, here = (
        {name: value for name, value in side.items() if name not in FREE}
        for side in (theirs, settings)
    )
    if other := contrast(there, here):
        raise RunError(
            f"{store.path}: its results can't be used here, since {other}; name a search of the "
            "same space by the same evaluator"
        )
    return theirs


def _scored(store: Store) -> list[Record]:
    """Returns the rows that hold a result of their own."""
    try:
        rows = store.records()
    except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
        raise RunError(f"{store.path}: damaged ({error}); name another run") from None
    return [
        row
        for row in rows
        if row.status in (Status.DONE, Status.STOPPED)
        and row.phase != "finalist"
        and row.cached_from is None
    ]


def _candidate(row: Record, space: Space, source: str) -> Any:
    """Returns a row's candidate, made anew from its code."""
    try:
        return space.decode(row.code)
    except GenomeError as error:
        raise RunError(f"{source}: {error}; name another run") from None


def _reward(
    row: Record, costs: Mapping[str, float], objective: ObjectiveSettings, source: str
) -> float | None:
    """Returns what a row is worth here; None if a number that the objective uses isn't finite."""
    try:
        for metrics in (row.metrics, *row.curve):
            objective.check(metrics, costs)
        if objective.not_finite(row.metrics, costs):
            return None
        return objective.reward(row.metrics, costs)
    except RunError as error:
        raise RunError(f"{source}: {error}") from None
