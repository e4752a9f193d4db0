"""Signals that ask a process to stop, raised in its main thread, so that it can clean up.

Ctrl-C is SIGINT, a system that shuts down sends SIGTERM, and a terminal that is closed SIGHUP.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 0.3
"""Seconds after which a second Ctrl-C is the user's: before, it may be the first, passed on."""

SWALLOWED = 20.0
"""Seconds after which another SIGTERM or SIGHUP is raised, too."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def number_of(stop: BaseException) -> int:
    """Returns the number of the signal behind an interruption: Ctrl-C's, if it has no other."""
    return int(getattr(stop, "number", signal.SIGINT))


class Signals:
    """A handler that raises `Stopped` for the first signal; those soon after it raise nothing.

    Attributes:
        received: The number of the last signal that was raised; None before any.
    """

    def __init__(self, at_once: Callable[[int], None] | None) -> None:
        """Begins with none received.

        Args:
            at_once: Ends the process, on a second Ctrl-C; None raises `Stopped` for each signal.
        """
        self.received: int | None = None
        self._at_once = at_once
        self._raised_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal; Python calls it with the signal's number."""
        elapsed = time.monotonic() - self._raised_at
        raises = self._at_once is None or self.received is None
        # A library may have swallowed the first `Stopped`: a later signal is raised again.
        if raises or (number != signal.SIGINT and elapsed > SWALLOWED):
            self.received, self._raised_at = number, time.monotonic()
            raise Stopped(number=number)
        if self._at_once is not None and number == signal.SIGINT and elapsed > AGAIN:
            self._at_once(number)


@contextmanager
def raised(
    numbers: Collection[int] = STOPS,
    at_once: Callable[[int], None] | None = None,
    *,
    to_the_end: bool = False,
) -> Iterator[Signals]:
    """Raises `Stopped` for signals, in the main thread.

    A signal that is ignored, as `nohup` ignores SIGHUP, stays ignored, and within another such
    context the outer one's handler stays.

    Args:
        numbers: The numbers of the signals.
        at_once: See `Signals`.
        to_the_end: Whether the process ends then, so that the former handlers aren't put back.
    """
    handler = Signals(at_once)
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if not (_is_ignored(number) or isinstance(signal.getsignal(number), Signals)):
                before[number] = signal.signal(number, handler)
    try:
        yield handler
    finally:
        for number, old in before.items():
            if not to_the_end:
                signal.signal(number, old or signal.SIG_DFL)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def kept() -> Iterator[None]:
    """Puts handlers back that a library replaces, such as Ray when it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, old in before.items():
            if old is not None and signal.getsignal(number) is not old:
                signal.signal(number, old)
