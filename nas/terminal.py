"""Standard output and standard error, whatever they are: a terminal, a pipe, a full disk, closed.

A job isn't ended by what becomes of its reader. Output that nobody can take any more is dropped,
the job goes on, and its exit code stays its own.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

PLAIN = {
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "·": "*",
    "…": "...",
    "±": "+-",
    "²": "2",
    "→": "->",
    "✔": "+",
    "✘": "!",
    "“": '"',
    "”": '"',
    "’": "'",
}
"""What stands for the toolkit's own signs where an encoding hasn't got them."""
GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Errors of an output whose reader went away, as in `nas top RUN | head -1`; no fault."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replaces what an encoding hasn't got: by a plainer sign, or by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    replaced = (PLAIN.get(c) or c.encode("unicode_escape").decode() for c in missing)
    return "".join(replaced), error.end


codecs.register_error("nas.plain", _plain)


class Output:
    """A text stream that takes any text, and goes on when nobody reads it any more.

    Attributes:
        error: the first that the system had, if any.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text; what the encoding hasn't got is written in plainer signs."""
        encoding = self._stream.encoding or "utf-8"
        with self._tolerant():
            self._stream.write(text.encode(encoding, "nas.plain").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Passes on what was written."""
        with self._tolerant():
            self._stream.flush()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            # What the stream still holds, and what follows, goes nowhere, without an error.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    @property
    def failure(self) -> str:
        """Why output was lost, if its reader didn't just go away."""
        if self.error is None or self.error.errno in GONE:
            return ""
        return self.error.strerror or str(self.error)


@contextmanager
def standard_streams() -> Iterator[Output]:
    """Lets a command write to whatever its standard output and error are; gives the output."""
    _open_closed()
    _drop_sizes()
    before = sys.stdout, sys.stderr
    out, err = Output(sys.stdout), Output(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Opens those of the three that are closed (`>&-`).

    Else the next file that is opened, such as a run's store, would get their number, and with it
    whatever a library prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if name == "stdin" else os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _drop_sizes() -> None:
    """Forgets sizes of a terminal that are none, such as `COLUMNS=0`."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        with suppress(ValueError):
            if int(value) > 0:
                continue
        os.environ.pop(name, None)
