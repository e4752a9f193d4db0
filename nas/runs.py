"""Run folders: where things lie in them, under what conditions they were made, and references.

A reference names an architecture, and where there are some its weights:

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

from nas import yamlfile
from nas.environment import environment
from nas.errors import NasError, RunError, one_line
from nas.files import read_header, write_text
from nas.genome import Genome
from nas.study import store
from nas.study.objective import ObjectiveSettings
from nas.study.result import result_of
from nas.study.trial import Record
from nas.validation import nearest

RUNS = Path("runs")
"""The folder in which runs without a name of their own are made."""


@dataclass(frozen=True)
class Run:
    """The folder of one search or training."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config: what `nas resume` reads."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """One entry per start: command, hardware, versions."""
        return self.path / "env.json"

    @property
    def store(self) -> Path:
        """A search's rows."""
        return store.find(self.path)

    @property
    def genome(self) -> Path:
        """The winner of a finished search, or what a training trains."""
        return self.path / "genome.json"

    @property
    def finals(self) -> Path:
        """A search's finalists: what their longer trainings leave behind."""
        return self.path / "finals"

    @property
    def checkpoints(self) -> Path:
        """A training's last states, to go on from."""
        return self.path / "checkpoints"

    @property
    def begun(self) -> bool:
        """Whether a training has a checkpoint to go on from."""
        return any(self.checkpoints.glob("*.safetensors"))

    @property
    def metrics(self) -> Path:
        """What a training came to so far, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """A training's pictures: what it learns from, and what it finds."""
        return self.path / "samples"

    @property
    def tensorboard(self) -> Path:
        """A training's files for TensorBoard, where it was told to write them."""
        return self.path / "tensorboard"

    @property
    def weights(self) -> Path:
        """A finished training's model."""
        return self.path / "model.safetensors"

    @property
    def report(self) -> Path:
        """The page and its pictures."""
        return self.path / "report"

    @classmethod
    def make(cls, path: Path) -> Run:
        """Makes the folder, or takes one that a run has written before.

        Raises:
            RunError: the folder holds something else, or can't be made.
        """
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = next(path.iterdir(), None) if not run.exists() else None
        except OSError as error:
            raise RunError(f"{path}: no run can be kept here ({error.strerror})") from None
        if foreign:
            raise RunError(
                f"{path}: holds {foreign.name} and is no run; name another folder with --run"
            )
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Returns the run in a folder.

        Raises:
            RunError: the folder isn't there, or holds no run; names the nearest run beside it.
        """
        run = cls(path)
        if not run.exists():
            met = "holds no run" if path.is_dir() else "there is no such run"
            raise RunError(f"{path}: {met}{_near_runs(path)}")
        return run

    def exists(self) -> bool:
        """Tells whether a search or a training has written here."""
        return self.config.is_file() or self.store.is_file()

    def read_search(self) -> tuple[list[Record], ObjectiveSettings]:
        """Returns the rows of a search, and what it maximises.

        Raises:
            RunError: there is no search in that folder.
        """
        kept = self.config.is_file() and not self.store.is_file()
        if kept and yamlfile.read_table(self.config).get("job") == "train":
            raise RunError(
                f"{self.path}: holds a training, and only searches have a leaderboard and a page; "
                "its numbers are in metrics.json"
            )
        with store.Store.open_readonly(self.store) as rows:
            try:
                objective = ObjectiveSettings.model_validate(rows.settings.get("objective", {}))
            except ValidationError as error:
                raise RunError(
                    f"{self.store}: its objective is damaged ({one_line(error, 120)})"
                ) from None
            return rows.records(), objective

    def record_environment(self) -> list[str]:
        """Adds an entry for this start; returns which versions changed since the one before.

        Raises:
            RunError: env.json is damaged.
        """
        entries = []
        if self.environment.is_file():
            try:
                entries = list(json.loads(self.environment.read_text(encoding="utf-8")))
                before = dict(entries[-1]["versions"])
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise RunError(
                    f"{self.environment}: damaged ({error}); delete it to go on"
                ) from None
        now = environment()
        changed = []
        if entries:
            changed = [
                f"{name} {before.get(name)} → {version}"
                for name, version in now["versions"].items()
                if before.get(name) != version
            ]
        write_text(self.environment, json.dumps([*entries, now], indent=1) + "\n")
        return changed


def unused(name: str, root: Path = RUNS) -> Path:
    """Returns the first of root/name-1, root/name-2, … that doesn't exist."""
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"


@dataclass(frozen=True)
class Reference:
    """What a reference on the command line names.

    Attributes:
        text: as it was typed.
        path: of the genome's JSON, the run's folder, or the checkpoint.
        trial: the number in `RUN:17`.
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
            NasError: the file, run or trial has none that can be read.
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
        RunError: it is no zoo name, file or run; names the nearest that is.
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
            raise RunError(
                f"{text}: there is no such file or run{_near_runs(Path(text))}"
            ) from None
        near = nearest(text.lower(), zoo.names())
        hint = f"did you mean {near}?" if near else f"the zoo has {', '.join(zoo.names())}"
        raise RunError(f"{text}: no zoo name, file or run; {hint}") from None


def _near_runs(path: Path) -> str:
    folder = path.parent
    try:
        runs = [p.name for p in sorted(folder.iterdir())[:1000] if Run(p).exists()]
    except OSError:
        return ""
    near = nearest(path.name, runs, cutoff=0.4)
    return f"; did you mean {folder / near}?" if near else ""


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
            raise RunError(f"{run.path}:{trial}: no such trial; the run has {_span(numbered)}")
        chosen = numbered[trial]
    return Genome.from_json(chosen.candidate_json, source=f"{run.path}:{chosen.number}")


def _best(run: Run, records: list[Record], settings: dict[str, Any]) -> Record:
    try:
        objective = ObjectiveSettings.model_validate(settings["objective"])
    except (LookupError, ValidationError):
        raise RunError(f"{run.store}: says not what it searches for; it is damaged") from None
    best = result_of(records, objective).best
    if best is None:
        raise RunError(f"{run.path}: no trial has a score yet; wait, or type nas resume {run.path}")
    return best


def _span(numbers: Mapping[int, object]) -> str:
    return f"trials {min(numbers)} to {max(numbers)}" if numbers else "none yet"


def _genome_of_checkpoint(path: Path) -> Genome:
    try:
        genome = json.dumps(read_header(path)["genome"])
    except (OSError, LookupError, ValueError, TypeError):
        raise RunError(
            f"{path}: not a trained model; give a model.safetensors that nas train has written"
        ) from None
    return Genome.from_json(genome, source=str(path))
