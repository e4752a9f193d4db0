"""`nas compare`: what differs between two searches or trainings, and whether that can be told."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nas import yamlfile
from nas.cost import profile
from nas.errors import RunError
from nas.files import read_header
from nas.genome import Genome
from nas.report.comparison import (
    Compared,
    Comparison,
    Search,
    differing,
    search_scores,
    shown,
)
from nas.report.formatting import cost_text, objective_text
from nas.runs.folder import Run
from nas.study.objective import ObjectiveSettings
from nas.study.result import result_of
from nas.study.store import Store
from nas.ui.console import console

KINDS = {"search": "search", "train": "training"}
NUMBERS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap_common", "ar100")
"""The numbers of `nas.evaluation.metrics.Metrics` that people look at."""


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compares two runs of one kind, and prints what differs.

    Searches are compared by the score that they maximise: the trials that pair, the winners'
    re-evaluations, and the expected best of equally many trials, each with a 95 % interval.
    Trainings are compared by their numbers on `val`; of one training each there is no interval.

    Args:
        first: a run's folder.
        second: another's; a difference is the first minus the second.

    Returns:
        What was printed.

    Raises:
        NasError: one is a search and the other a training, they have different data or metrics,
            or one has nothing to compare yet.
    """
    one, two = (_OpenedRun.open(Path(path).expanduser()) for path in (first, second))
    if one.run.path.resolve() == two.run.path.resolve():
        raise RunError(f"{two.run.path}: is the same run twice; name two runs")
    if one.kind != two.kind:
        raise RunError(
            f"{one.run.path} is a {KINDS[one.kind]} and {two.run.path} a {KINDS[two.kind]}; "
            "name two searches or two trainings"
        )
    names = one.run.path.resolve().name, two.run.path.resolve().name
    if names[0] == names[1]:
        names = str(one.run.path), str(two.run.path)
    compared = (_searches if one.kind == "search" else _trainings)(one, two, names)
    console.print(shown(compared))
    return compared


@dataclass(frozen=True)
class _OpenedRun:
    """A run, its kind, and the settings that it keeps."""

    run: Run
    kind: str
    settings: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> _OpenedRun:
        run = Run.open(path)
        if not run.config.is_file():  # a search made in Python
            with Store.open_readonly(run.store) as store:
                return cls(run, "search", store.settings)
        settings = yamlfile.read_table(run.config)
        kind = settings.get("job")
        if kind not in tuple(KINDS):
            raise RunError(f"{run.config}: job is {kind!r}; it should be search or train")
        return cls(run, kind, settings)


# Two searches


class _SearchRead(NamedTuple):
    """A search's rows, and how its evaluator describes itself."""

    search: Search
    evaluator: dict[str, Any]

    @classmethod
    def of(cls, run: Run) -> _SearchRead:
        records, objective = run.read_search()
        with Store.open_readonly(run.store) as store:
            evaluator = store.settings.get("evaluator")
        search = Search(records, result_of(records, objective))
        return cls(search, evaluator if isinstance(evaluator, dict) else {})

    @property
    def objective(self) -> ObjectiveSettings:
        """Returns what was searched for."""
        return self.search.result.objective

    @property
    def images(self) -> Any:
        """Returns the fingerprint of what trials are scored on."""
        return self.evaluator.get("holdout")

    @property
    def proxy(self) -> dict[str, Any]:
        """Returns what a trial is, besides its data."""
        return {k: v for k, v in self.evaluator.items() if k not in ("fit", "holdout", "folds")}


def _searches(one: _OpenedRun, two: _OpenedRun, names: tuple[str, str]) -> Comparison:
    first, second = _SearchRead.of(one.run), _SearchRead.of(two.run)
    paths = f"{one.run.path} and {two.run.path}"
    one_goal, other_goal = first.objective, second.objective
    if (one_goal.maximize, one_goal.shape) != (other_goal.maximize, other_goal.shape):
        raise RunError(
            f"{paths} maximise {objective_text(one_goal)} and {objective_text(other_goal)}; name "
            "searches with one objective"
        )
    settings = differing(one.settings, two.settings)
    scores = search_scores(first.search, second.search)
    notes = []
    if first.images != second.images:
        notes.append(_why_other_images(settings, paths))
        basis = "scored on different images"
        scores = tuple(replace(row, interval=None, basis=basis) for row in scores)
    if first.proxy != second.proxy:
        notes.append("A trial isn't the same in both, so their scores may differ by that alone.")
    for name, read in zip(names, (first, second), strict=True):
        if not read.search.result.finalists:
            notes.append(f"{name} has no re-evaluation: its winner is the highest of noisy scores.")
    verdicts = [f"{row.name}: {row.verdict(names)} ({row.basis})." for row in scores]
    if not scores:
        verdicts = ["Too few trials have a score to compare them."]
    notes.append("One search each: a claim about ways to search needs many paired searches.")
    costs = _side_by_side(first.search.costs(), second.search.costs())
    return Comparison(names, one_goal.score_name, scores, costs, settings, (*verdicts, *notes))


def _why_other_images(settings: Mapping[str, Any], paths: str) -> str:
    """Explains two hold-outs of one folder, and refuses two folders."""
    causes = [name for name in settings if name.startswith(("seed", "data.holdout"))]
    other_folder = any(name.startswith(("data_dir", "data.scene")) for name in settings)
    if other_folder or not causes:
        raise RunError(f"{paths} were scored on different data; name searches on the same --data")
    return (
        f"Trials were scored on different images, since the runs differ in {', '.join(causes)}; "
        "to compare scores, search again with the same."
    )


# Two trainings


@dataclass(frozen=True)
class _FinishedTraining:
    """A finished training, as the header of its weights tells it."""

    genome: Genome
    classes: int  # background counts
    seed: Any
    data: Any  # the fingerprint of what it was trained on
    numbers: Mapping[str, float]  # on val

    @classmethod
    def read(cls, run: Run) -> _FinishedTraining:
        again = f"nas resume {shlex.quote(str(run.path))}"
        if not run.weights.is_file():
            raise RunError(f"{run.path}: has no numbers on val before its training ends; {again}")
        try:
            header = read_header(run.weights)
            record = header["record"]
            values = {name: record["val"].get(name) for name in NUMBERS}
            numbers = {k: float(v) for k, v in values.items() if v is not None}
            genome, classes = json.dumps(header["genome"]), 1 + len(header["categories"])
            seed, data = record.get("seed"), record.get("data")
        except (OSError, LookupError, ValueError, TypeError, AttributeError):
            raise RunError(
                f"{run.weights}: is no model with its numbers on val; {again} writes it again"
            ) from None
        return cls(Genome.from_json(genome, str(run.weights)), classes, seed, data, numbers)

    def costs(self) -> dict[str, str]:
        counted = profile(self.genome, num_classes=self.classes)
        return {name: cost_text(name, counted.costs()[name]) for name in ("params", "macs")}


def _trainings(one: _OpenedRun, two: _OpenedRun, names: tuple[str, str]) -> Comparison:
    first, second = _FinishedTraining.read(one.run), _FinishedTraining.read(two.run)
    if first.data != second.data:
        raise RunError(
            f"{one.run.path} and {two.run.path} were trained on different data; judge each on one "
            "folder: nas eval RUN --data DIR"
        )
    basis = "one training each"
    scores = tuple(
        Compared(name, first.numbers[name], second.numbers[name], None, basis)
        for name in NUMBERS
        if name in first.numbers and name in second.numbers
    )
    words = (
        f"One training each, with seeds {first.seed} and {second.seed}: that tells nothing about "
        "how far other seeds spread, so no difference here is a finding.",
        "For one, train both with at least five paired seeds.",
    )
    costs = _side_by_side(first.costs(), second.costs())
    settings = differing(one.settings, two.settings)
    return Comparison(names, "", scores, costs, settings, words)


def _side_by_side(
    first: Mapping[str, str], second: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    return {name: (first.get(name, "–"), second.get(name, "–")) for name in {**first, **second}}
