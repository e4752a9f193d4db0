"""What ends a command: its one line, and its exit code.

Exit codes: 0 done, 1 an error of the toolkit's own, 2 something the user can mend; stopped by a
signal, 128 and its number: 130 by Ctrl-C, 143 by SIGTERM, 129 with its terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import typer

from nas import signals, temporary
from nas.errors import ConfigError, NasError, one_line


def exit_code(app: typer.Typer, words: list[str], stops: signals.Signals) -> int:
    """Runs a command line; prints what ended it, and returns the exit code for that.

    Args:
        app: the command.
        words: its arguments.
        stops: the signals that came meanwhile.

    Raises:
        Exception: an error of the toolkit's own, if `NAS_DEBUG` is set.
    """
    try:
        _refuse_empty(words)
        with typer.main.get_command(app).make_context("nas", words) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except KeyboardInterrupt as stop:
        return say(str(stop) or "stopped", 128 + (stops.received or signals.number_of(stop)))
    except Exception as error:
        if stops.received is not None:  # a library made something else of the interruption
            return say("stopped", 128 + stops.received)
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    """Prints an error as one line, and returns its exit code."""
    if isinstance(error, NasError):
        return say(str(error), 2)
    if isinstance(error, typer.TyperException):  # an unknown verb or option, a missing argument
        return say(f"{error.format_message()} (nas --help shows the commands)", 2)
    if os.environ.get("NAS_DEBUG"):
        raise error
    line = one_line(error, 300)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return say(f"{line}; make room on the disk, then type this command again", 2)
    return say(f"{type(error).__name__}: {line}; run again with NAS_DEBUG=1 for the traceback", 1)


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuses empty words, as of a variable that isn't set: a path would be the current folder."""
    for before, word in zip(["", *words], words, strict=False):
        if word == "--":
            return
        name, sign, value = word.partition("=")
        if word == "" or (name.startswith("--") and sign and not value):
            option = name if sign else before
            what = option if option.startswith("-") else "an argument"
            raise ConfigError(f"{what}: is empty; give it a value, or leave it out")


def say(message: str, code: int) -> int:
    """Prints a message as one line behind the command's name, and returns the code."""
    print("nas:", one_line(message), file=sys.stderr)
    return code


def end_at_once(number: int) -> None:
    """Ends on a second Ctrl-C, without what the first one began to wind up."""
    temporary.remove_all()
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h")  # the cursor, which a bar hides
    os.write(2, b"nas: stopped at once\n")
    os._exit(128 + number)
