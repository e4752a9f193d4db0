"""Calls a job, which is loaded only then."""

from __future__ import annotations

import importlib
from typing import Any

from nas.errors import printable


def run_job(module: str, verb: str, *arguments: Any, **options: Any) -> None:
    """Loads a job only now, so that `nas --help` is quick, and names the files that it made."""
    made = getattr(importlib.import_module(f"nas.jobs.{module}"), verb)(*arguments, **options)
    for path in made if isinstance(made, list) else ():
        print(printable(str(path)))
