"""The command `nas`, and `python -m nas`.

The working folder is left before anything else is imported: it may hold a `typer.py`.
"""

from __future__ import annotations

import sys

from nas.import_path import leave_working_folder


def command() -> int:
    """Runs the command line and returns its exit code."""
    leave_working_folder()
    from nas.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(command())
