"""Signals that ask a process to stop, raised where it works, so that it can leave things in order.

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
"""Seconds after which a second Ctrl-C is meant: tools that start others pass one on, too."""

UNHEARD = 20.0
"""Seconds after which another SIGTERM or SIGHUP is raised again."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def number_of(stop: BaseException) -> int:
    """Returns the signal that an interruption stands for: Ctrl-C, if nothing else is noted."""
    return int(getattr(stop, "number", signal.SIGINT))


class Signals:
    """Raises `Stopped` for the first signal; while that is obeyed, others raise nothing more."""

    def __init__(self, at_once: Callable[[int], None] | None) -> None:
        """Begins with none received.

        Args:
            at_once: ends the process, on a second Ctrl-C; None raises `Stopped` for each signal.
        """
        self.received: int | None = None
        self._at_once = at_once
        self._first = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Takes a signal, as `signal.signal` wants it."""
        passed = time.monotonic() - self._first
        is_first = self._at_once is None or self.received is None
        # A library may have swallowed what the first one raised.
        if is_first or (number != signal.SIGINT and passed > UNHEARD):
            self.received, self._first = number, time.monotonic()
            raise Stopped(number=number)
        if self._at_once is not None and number == signal.SIGINT and passed > AGAIN:
            self._at_once(number)


@contextmanager
def raised(
    numbers: Collection[int] = STOPS,
    at_once: Callable[[int], None] | None = None,
    *,
    to_the_end: bool = False,
) -> Iterator[Signals]:
    """Raises `Stopped` for signals, in the main thread.

    One that is ignored, as `nohup` ignores SIGHUP, stays so, and within another such context
    the outer one's rule holds.

    Args:
        numbers: of the signals.
        at_once: see `Signals`.
        to_the_end: don't put back what was there, because the process ends.
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
