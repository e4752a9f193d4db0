"""`nas resume`: goes on with a search or a training that was stopped."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from nas.config.loading import check_data_dir, load_run
from nas.config.overrides import Override
from nas.config.schema import Config
from nas.errors import ConfigError
from nas.runs.folder import Run

OF_SEARCHES = ("budget",)
"""Settings that a training doesn't have."""


def resume(folder: Path, options: Sequence[Override] = ()) -> None:
    """Goes on with a run; nothing finished is run again.

    Args:
        folder: of a search or a training.
        options: on top of the run's own config.

    Raises:
        NasError: as `config_to_resume`, and as the job that goes on.
    """
    config = config_to_resume(folder, options)
    # The two jobs import torch, which what is refused above does without.
    job = getattr(importlib.import_module(f"nas.jobs.{config.job}"), config.job)
    job(config, folder, dry_run=False)


def config_to_resume(folder: Path, options: Sequence[Override]) -> Config:
    """Returns the config with which a run goes on: its own, with `options` on top.

    Raises:
        RunError: the folder holds no run.
        ConfigError: an option is wrong, or not for this kind of run; or its data are gone.
    """
    path = Run.open(folder).config
    if load_run(path).job == "train":
        for option in options:
            if option.key in OF_SEARCHES:
                name = option.option.split()[0]
                raise ConfigError(
                    f"{folder}: holds a training, and {name} is for searches; leave it out"
                )
    config = load_run(path, options)
    check_data_dir(config, str(path), options)
    return config
