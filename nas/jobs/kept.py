"""The config that a run keeps: what `nas resume` reads, and where later verbs find the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas.config import Config, Override, check_data_dir, load_run, to_yaml
from nas.data.settings import DataSettings
from nas.errors import ConfigError, DataError, RunError
from nas.runs import Run, write_text

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
