"""References.

One names an architecture, and where there are some its weights:

    spinenet-49              a name in the zoo
    my/genome.json           a genome's JSON
    runs/fod                 the best of a search, or what a training came to
    runs/fod:17              trial 17 of a search
    runs/fod-s49/model.safetensors
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from nas.errors import NasError, RunError
from nas.files import read_header
from nas.genome import Genome
from nas.runs.folder import Run, near_runs
from nas.study import store
from nas.study.objective import ObjectiveSettings
from nas.study.result import result_of
from nas.study.trial import Record
from nas.validation import nearest


@dataclass(frozen=True)
class Reference:
    """What a reference on the command line names.

    Attributes:
        text: The reference as it was typed.
        kind: What it names.
        path: The genome's JSON, the run's folder, or the checkpoint.
        trial: The number in `RUN:17`.
    """

    text: str
    kind: Literal["zoo", "genome", "run", "trial", "checkpoint"]
    path: Path | None = None
    trial: int | None = None

    @property
    def weights(self) -> Path | None:
        """The file with trained weights, where there is one."""
        if self.kind == "checkpoint":
            return self.path
        if self.kind == "run" and self.path and Run(self.path).weights.is_file():
            return Run(self.path).weights
        return None

    def genome(self) -> Genome:
        """Returns the architecture.

        Raises:
            NasError: The file, run or trial has none that can be read.
        """
        if self.path is None:
            from search_spaces import zoo

            return zoo.genome(self.text)
        if self.kind == "genome":
            return Genome.from_file(self.path)
        if self.kind == "checkpoint":
            return _genome_of_checkpoint(self.path)
        return _genome_of_run(Run(self.path), self.trial)


def parse(text: str) -> Reference:
    """Returns what a reference names, without reading it.

    Raises:
        RunError: It is no zoo name, file or run; names the nearest that is.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return Reference(text, "run", Run.open(path).path)
    run, _, number = text.rpartition(":")
    if run and re.fullmatch(r"\d{1,9}", number):
        return Reference(text, "trial", Run.open(Path(run).expanduser()).path, int(number))
    kinds: dict[str, Literal["genome", "checkpoint"]]
    kinds = {".json": "genome", ".safetensors": "checkpoint"}
    if path.suffix in kinds:
        if not path.is_file():
            raise RunError(f"{text}: there is no such file")
        return Reference(text, kinds[path.suffix], path)
    if path.is_file():
        raise RunError(
            f"{text}: neither a genome (.json) nor a checkpoint (.safetensors) by its name"
        )
    return _in_zoo(text)


def _in_zoo(text: str) -> Reference:
    from search_spaces import zoo

    try:
        return Reference(zoo.entry(text).name, "zoo")
    except NasError:
        if "/" in text:
            raise RunError(f"{text}: there is no such file or run{near_runs(Path(text))}") from None
        near = nearest(text.lower(), zoo.names())
        hint = f"did you mean {near}?" if near else f"the zoo has {', '.join(zoo.names())}"
        raise RunError(f"{text}: no zoo name, file or run; {hint}") from None


def _genome_of_run(run: Run, trial: int | None) -> Genome:
    if trial is None and run.genome.is_file():
        return Genome.from_file(run.genome)
    with store.Store.open_readonly(run.store) as rows:
        records, settings = rows.records(), rows.settings
    if trial is None:
        chosen = _best(run, records, settings)
    else:
        numbered = {row.number: row for row in records}
        if trial not in numbered:
            raise RunError(f"{run.path}:{trial}: no such trial; the run has {trial_span(numbered)}")
        chosen = numbered[trial]
    return Genome.from_json(chosen.candidate_json, source=f"{run.path}:{chosen.number}")


def _best(run: Run, records: list[Record], settings: dict[str, Any]) -> Record:
    try:
        objective = ObjectiveSettings.model_validate(settings["objective"])
    except (LookupError, ValidationError):
        raise RunError(f"{run.store}: doesn't say what it searches for; it is damaged") from None
    best = result_of(records, objective).best
    if best is None:
        raise RunError(f"{run.path}: no trial has a score yet; wait, or type nas resume {run.path}")
    return best


def trial_span(numbers: Mapping[int, object]) -> str:
    """Returns the first and the last number of a search's trials, in words."""
    return f"trials {min(numbers)} to {max(numbers)}" if numbers else "none yet"


def _genome_of_checkpoint(path: Path) -> Genome:
    try:
        genome = json.dumps(read_header(path)["genome"])
    except (OSError, LookupError, ValueError, TypeError):
        raise RunError(
            f"{path}: not a trained model; give a model.safetensors that nas train has written"
        ) from None
    return Genome.from_json(genome, source=str(path))
