"""Interruption: Ctrl-C, SIGTERM and SIGHUP leave a store from which a later start goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from nas import signals
from nas.errors import RunError
from nas.study.study import Study


class SearchInterrupted(RunError):
    """A search was stopped on purpose; trials in flight will be proposed again.

    Attributes:
        number: The signal's.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


@contextmanager
def interruptible(study: Study) -> Iterator[None]:
    """Turns these signals into `SearchInterrupted`, and takes back the trials in flight.

    Args:
        study: Whose trials are taken back, after any other error too.

    Raises:
        SearchInterrupted: in place of the signal.
    """
    with signals.raised((signal.SIGTERM, signal.SIGHUP)) as watched:
        try:
            yield
        except KeyboardInterrupt as stop:
            in_flight = study.in_flight  # before it is released
            study.release()
            raise SearchInterrupted(
                f"stopped after {study.completed} trials, with {in_flight} under way; nothing "
                "finished is lost",
                watched.received or signals.number_of(stop),
            ) from None
        except BaseException:
            study.release()
            raise
