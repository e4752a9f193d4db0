"""The weights that trials of a search end with: kept for the best, and found by their number."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from nas.errors import RunError
from nas.files import read_header
from nas.genome import Genome
from nas.runs.folder import Run
from nas.runs.reference import trial_span
from nas.study.interfaces import Event
from nas.study.trial import Phase, Record, Status

KEPT = 8
"""Trials whose weights a search keeps: the best of its proposals, and as many of the finalists'."""


def trial_path(folder: Path, key: str, seed: int) -> Path:
    """Returns where the weights of a trial are kept.

    A trial's seed is one of its network and of how often that was looked at, so that no two trials
    of a search share a file, and a trial that is tried again writes its own anew.

    Args:
        folder: `Run.trials`.
        key: of the network as deployed.
        seed: of the trial.
    """
    return folder / f"{key[:16]}-{seed:08x}.safetensors"


class KeptTrials:
    """Keeps the weights of the best trials, and deletes the others as soon as they are scored.

    Args:
        run: of the search.
        metric: that it maximises.
        records: of an earlier start.
    """

    def __init__(self, run: Run, metric: str, records: Iterable[Record]) -> None:
        self.folder, self.metric = run.trials, metric
        self._best: dict[Phase, list[tuple[float, Path]]] = defaultdict(list)
        for row in records:
            if row.status is not Status.ASKED and row.phase != "earlier" and not row.cached_from:
                score = row.metrics.get(metric) if row.status is Status.DONE else None
                self._sort(row.phase, trial_path(self.folder, row.key, row.seed), score)

    def __call__(self, event: Event) -> None:
        """Keeps or deletes what a finished trial has written."""
        if event.kind != "completed":
            return
        trial = event.trial
        finished = event.failure is None and not event.stopped
        score = event.metrics.get(self.metric) if finished else None
        self._sort(trial.phase, trial_path(self.folder, trial.key, trial.seed), score)

    def _sort(self, phase: Phase, path: Path, score: float | None) -> None:
        """Puts a file among the best of its phase, and deletes the one that is too many."""
        if score is None:
            path.unlink(missing_ok=True)
            return
        best = self._best[phase]
        best.append((score, path))
        best.sort(key=lambda one: -one[0])  # of equal ones the earlier stays
        for _, other in best[KEPT:]:
            other.unlink(missing_ok=True)
        del best[KEPT:]


def trial_file(folder: Path, number: int, genome: Genome) -> Path:
    """Returns the file with the weights of a trial.

    Args:
        folder: of the search.
        number: of the trial; a repeated proposal's are those of the first.
        genome: what is to be trained: the trial's network, at any side of the input.

    Raises:
        RunError: no such trial, another network, or its weights weren't kept.
    """
    run = Run.open(folder)
    rows = {row.number: row for row in run.read_search()[0]}
    if number not in rows:
        raise RunError(f"no such trial; the run has {trial_span(rows)}")
    row = rows[number]
    if row.cached_from is not None:
        row = rows.get(row.cached_from, row)
    path = trial_path(run.trials, row.key, row.seed)
    if not path.is_file():
        kept = [n for n, r in rows.items() if trial_path(run.trials, r.key, r.seed).is_file()]
        there = f"there are those of {', '.join(map(str, kept))}" if kept else "there are none"
        raise RunError(
            f"its weights weren't kept, which those of the best {KEPT} finished trials are; "
            f"{there}, and --init auto starts from published ones"
        )
    try:
        theirs = Genome.from_json(json.dumps(read_header(path)["genome"]), source=str(path))
    except (OSError, ValueError, LookupError, TypeError):
        raise RunError(f"{path}: damaged; take another trial, or --init auto") from None
    if theirs.replace(input=genome.input).key != genome.key:
        raise RunError(
            f"the trial trained another network than {genome.name or 'the one to train'}; give "
            f"--genome {folder}:{number}, at the scale that the search's proxy.scale says"
        )
    return path
