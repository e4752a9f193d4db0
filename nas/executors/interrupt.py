"""Stopping on purpose: Ctrl-C and SIGTERM leave a store that a later start goes on from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas.errors import RunError
from nas.study import Study


class SearchInterrupted(RunError):
    """A search was stopped on purpose; what was in flight will be asked again."""


@contextmanager
def interruptible(study: Study) -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into `SearchInterrupted`, and takes back what is in flight."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None
    try:
        yield
    except KeyboardInterrupt:
        waiting = study.in_flight
        study.release()
        raise SearchInterrupted(
            f"stopped after {study.told} trials, with {waiting} under way; nothing finished is lost"
        ) from None
    except BaseException:
        study.release()
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
