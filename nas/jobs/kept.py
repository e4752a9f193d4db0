"""The config that a run keeps: what `nas resume` reads, and where later verbs find the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.config import Config, load_run, to_yaml
from nas.data.settings import DataSettings
from nas.errors import RunError
from nas.runs import Run, write_text


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


def kept_data(ref: object) -> tuple[Path | None, DataSettings]:
    """The data folder of the run that a reference names, and its settings.

    None stands for the built-in scenes, and for a folder that isn't there any more.
    """
    run = Run(Path(str(ref))) if isinstance(ref, str | Path) else None
    if run is None or not run.config.is_file():
        return None, DataSettings()
    config = load_run(run.config)
    folder = config.data_dir
    return folder if folder is not None and folder.is_dir() else None, config.data
