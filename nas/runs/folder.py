"""Run folders: where things lie in them, and under what conditions they were made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nas import yamlfile
from nas.environment import environment
from nas.errors import RunError, one_line
from nas.files import write_text
from nas.study import store
from nas.study.objective import ObjectiveSettings
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
    def trials(self) -> Path:
        """The weights that a search's best trials ended with."""
        return self.path / "trials"

    @property
    def start(self) -> Path:
        """What a training started from."""
        return self.path / "start.json"

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
            RunError: The folder holds something else, or can't be made.
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
            RunError: The folder isn't there, or holds no run; names the nearest run beside it.
        """
        run = cls(path)
        if not run.exists():
            state = "holds no run" if path.is_dir() else "there is no such run"
            raise RunError(f"{path}: {state}{near_runs(path)}")
        return run

    def exists(self) -> bool:
        """Tells whether a search or a training has written here."""
        return self.config.is_file() or self.store.is_file()

    def read_search(self) -> tuple[list[Record], ObjectiveSettings]:
        """Returns the rows of a search, and what it maximises.

        Raises:
            RunError: There is no search in that folder.
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


def near_runs(path: Path) -> str:
    """Returns a hint at the run beside `path` whose name is nearest; empty where there is none."""
    folder = path.parent
    try:
        runs = [p.name for p in sorted(folder.iterdir())[:1000] if Run(p).exists()]
    except OSError:
        return ""
    near = nearest(path.name, runs, cutoff=0.4)
    return f"; did you mean {folder / near}?" if near else ""
