"""Standard output and standard error, whatever they are: a terminal, a pipe, a full disk, closed.

A job doesn't end because its reader does. Output that can't be written any more is dropped, the
job goes on, and its exit code says only how the job itself ended.
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
"""ASCII in place of the toolkit's own signs, for encodings without them."""
GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Errors of an output whose reader has ended, as in `nas top RUN | head -1`; that is no fault."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replaces characters that an encoding hasn't: by a plainer sign, or by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    replaced = (PLAIN.get(c) or c.encode("unicode_escape").decode() for c in missing)
    return "".join(replaced), error.end


codecs.register_error("nas.plain", _plain)


class Output:
    """A text stream that takes any text, and goes on when nobody reads it any more.

    Attributes:
        error: The system's first error in writing, if there was one.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text; characters that the encoding hasn't are written in plainer signs."""
        encoding = self._stream.encoding or "utf-8"
        with self._tolerant():
            self._stream.write(text.encode(encoding, "nas.plain").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        with self._tolerant():
            self._stream.flush()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Keeps the first error of the system, and drops all output after it."""
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            # The stream's buffer would fail again when Python ends. With the null device under its
            # descriptor, both the buffer and what follows are dropped without an error.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    @property
    def failure(self) -> str:
        """The reason why output was lost; "" if none was, or its reader has ended."""
        if self.error is None or self.error.errno in GONE:
            return ""
        return self.error.strerror or str(self.error)


@contextmanager
def standard_streams() -> Iterator[Output]:
    """Lets a command write to whatever its standard output and error are; yields the output."""
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
    """Opens the null device for those of the three streams that are closed (`>&-`).

    Otherwise the next file that is opened, such as a run's store, would get such a stream's number,
    and a library's prints would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDONLY if name == "stdin" else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _drop_sizes() -> None:
    """Removes sizes of a terminal that are none, such as `COLUMNS=0`, from the environment."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        with suppress(ValueError):
            if int(value) > 0:
                continue
        os.environ.pop(name, None)
