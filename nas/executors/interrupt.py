"""Stopping on purpose: Ctrl-C, SIGTERM and SIGHUP leave a store that a later start goes on from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from nas import signals
from nas.errors import RunError
from nas.study.study import Study


class SearchInterrupted(RunError):
    """A search was stopped on purpose; what was in flight will be asked again.

    Attributes:
        number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


@contextmanager
def interruptible(study: Study) -> Iterator[None]:
    """Turns these signals into `SearchInterrupted`, and takes back what is in flight."""
    with signals.raised((signal.SIGTERM, signal.SIGHUP)) as watched:
        try:
            yield
        except KeyboardInterrupt as stop:
            waiting = study.in_flight
            study.release()
            raise SearchInterrupted(
                f"stopped after {study.completed} trials, with {waiting} under way; nothing "
                "finished is lost",
                watched.received or signals.number_of(stop),
            ) from None
        except BaseException:
            study.release()
            raise
