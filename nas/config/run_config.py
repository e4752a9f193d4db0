"""The config that a run keeps, and that `nas resume` reads."""

from __future__ import annotations

from collections.abc import Callable

from nas.config.loading import load_run, to_yaml
from nas.config.schema import Config
from nas.errors import RunError
from nas.files import write_text
from nas.runs.folder import Run


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
