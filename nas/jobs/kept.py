"""The config that a run keeps: what `nas resume` reads, and where later verbs find the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.config import Config, Override, check_data_dir, load_run, to_yaml
from nas.data.coco import Split
from nas.data.settings import DataSettings
from nas.errors import ConfigError, DataError, RunError
from nas.files import write_text
from nas.runs.folder import Run

_OF_SEARCHES = ("budget",)


def config_to_resume(folder: Path, options: Sequence[Override]) -> Config:
    """Returns the config with which a run goes on: its own, with `options` on top.

    Raises:
        RunError: the folder holds no run.
        ConfigError: an option is wrong, or not for this kind of run; or its data are gone.
    """
    path = Run.open(folder).config
    if load_run(path).job == "train":
        for option in options:
            if option.key in _OF_SEARCHES:
                name = option.option.split()[0]
                raise ConfigError(
                    f"{folder}: holds a training, and {name} is for searches; leave it out"
                )
    config = load_run(path, options)
    check_data_dir(config, str(path), options)
    return config


def keep_config(run: Run, config: Config) -> Callable[[], None]:
    """Writes a new run's config; for one that goes on, returns what does so.

    What it returns is to be called, any number of times, once the run has accepted the settings:
    until then the config that the run was begun with stays.

    Raises:
        RunError: the folder holds a run of the other job.
    """
    if not run.config.is_file():
        write_text(run.config, to_yaml(config))
        return lambda: None
    kept = load_run(run.config)
    if kept.job != config.job:
        raise RunError(f"{run.path}: holds a {kept.job}; name another folder with --run")
    waiting = [config] if kept != config else []

    def keep() -> None:
        if waiting:
            write_text(run.config, to_yaml(waiting.pop()))

    return keep


def keep_data(run: Run, config: Config, split: Split) -> None:
    """Keeps a digest of each part of the training data, or compares a run that goes on.

    To be called before `keep_config`'s result, while the run still has its own config.

    Args:
        run: the run, with its config.
        config: the settings of this start.
        split: all of ``train``.

    Raises:
        RunError: the data, or how the hold-out is drawn, changed since the run began; says what.
    """
    path = run.path / "data.json"
    now = _digests(split)
    if not (run.store.is_file() or run.begun):
        write_text(path, json.dumps(now, indent=1) + "\n")
        return
    kept = load_run(run.config)
    if kept.seed != config.seed or not path.is_file():
        return  # the run itself names another seed, or that the data changed
    if config.job == "search":
        for name in ("holdout", "holdout_by", "holdout_blocks"):
            was, is_now = getattr(kept.data, name), getattr(config.data, name)
            if was != is_now:
                raise RunError(
                    f"{run.path}: data.{name} was {was} when this run began and is now {is_now}; "
                    "restore it, or start a new run"
                )
    if changed := _changed_part(path, now):
        raise RunError(
            f"{run.path}: the data changed since this run began: {changed} of {split.json_path}; "
            "restore them, or start a new run"
        )


def _digests(split: Split) -> dict[str, list[Any]]:
    """A count and a digest of each part of a split, and the split's own."""
    columns: dict[str, list[Any]] = {
        "classes": [(c.id, c.name) for c in split.categories],
        "images": [
            (i.id, i.path.relative_to(split.root).as_posix(), i.width, i.height)
            for i in split.images
        ],
        "boxes": [
            (i.id, *(a.tolist() for a in (i.boxes, i.labels, i.crowd, i.areas)))
            for i in split.images
        ],
    }
    counts = {"classes": len(split.categories), "images": len(split)}
    counts["boxes"] = split.boxes + split.crowds
    parts = {
        name: [counts[name], hashlib.sha256(repr(rows).encode()).hexdigest()[:32]]
        for name, rows in columns.items()
    }
    return {**parts, "all": [len(split), split.fingerprint]}


def _changed_part(path: Path, now: dict[str, list[Any]]) -> str | None:
    """The first part that differs from what was kept, with its counts."""
    try:
        before = json.loads(path.read_text())
        if before["all"] == now["all"]:
            return None
        for name in ("classes", "images", "boxes"):
            if before[name] != now[name]:
                was, is_now = before[name][0], now[name][0]
                return f"the {name}" + (f" ({was} then, {is_now} now)" if was != is_now else "")
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None  # the run itself compares its fingerprint
    return "the files of the images"


def kept_data(ref: object, *, needed: bool = False) -> tuple[Path | None, DataSettings]:
    """The data folder of the run that a reference names, and its settings.

    None stands for the built-in scenes, and for a folder that isn't there any more.

    Args:
        needed: refuse a folder that isn't there any more.

    Raises:
        DataError: then, and names the run's config.
    """
    run = Run(Path(str(ref))) if isinstance(ref, str | Path) else None
    if run is None or not run.config.is_file():
        return None, DataSettings()
    config = load_run(run.config)
    folder = config.data_dir
    if folder is None or folder.is_dir():
        return folder, config.data
    if needed:
        raise DataError(f"{run.config}: there is no folder {folder}; name it with --data DIR")
    return None, config.data
