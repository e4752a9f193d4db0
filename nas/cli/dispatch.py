"""Calls a job, which is loaded only then."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

from nas import signals
from nas.errors import printable


def run_job(module: str, verb: str, *arguments: Any, **options: Any) -> None:
    """Loads a job only now, so that `nas --help` is quick, and names the files that it made.

    Args:
        module: of `nas.jobs`, such as "top" or "data.check".
        verb: the function there.
        *arguments: the function's.
        **options: the function's.
    """
    result = getattr(importlib.import_module(f"nas.jobs.{module}"), verb)(*arguments, **options)
    for path in result if isinstance(result, list) else ():
        print(printable(str(path)))


def run_long_job(job: str, run: Path, *arguments: Any, **options: Any) -> None:
    """Starts or goes on with a search or a training; when it is stopped, tells how to go on.

    Args:
        job: a module of `nas.jobs`, with a function of the same name.
        run: the folder of the run.
        *arguments: the function's.
        **options: the function's.
    """
    from nas.executors.interrupt import SearchInterrupted

    try:
        run_job(job, job, *arguments, **options)
    except (KeyboardInterrupt, SearchInterrupted) as stop:
        begun = not options.get("dry_run") and (run / "config.yaml").is_file()
        hint = f"; nas resume {shlex.quote(str(run))} goes on" if begun else ""
        message = f"{str(stop) or 'stopped'}{hint}"
        raise signals.Stopped(message, signals.number_of(stop)) from None


def run_folder(run: Path | None, config: str | None, verb: str) -> Path:
    """Returns the folder that was named, or a new one in `runs/`, after the config or the verb."""
    from nas.runs.folder import unused

    return run or unused(Path(config).stem if config else verb)
