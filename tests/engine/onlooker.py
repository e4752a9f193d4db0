"""Who starts a driver, kills it or its workers, and compares what came of its run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nas.errors import NasError
from nas.study.store import FILE_NAME, Store
from nas.study.trial import Record, Status
from tests.engine.driver import Noted, Order, search_as

MARK = "NAS_TESTED_RUN"
"""A variable that a driver's processes inherit, so that they can be found."""


class Driver:
    """A driver's process, to be killed.

    Attributes:
        folders: of its Ray, which nobody removes where it is killed.
    """

    def __init__(self, order: Order) -> None:
        """Starts it."""
        self.order, self.folders = order, set[Path]()
        words = dataclasses.asdict(order) | {"run": str(order.run)}
        with order.said.open("a") as said:
            self._before = said.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine.driver", json.dumps(words)],
                cwd=Path(__file__).parents[2],
                env=os.environ | {MARK: str(order.run)},
                stdout=said,
                stderr=said,
                # A shell that starts the tests in the background lets them, and so this, ignore
                # Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def end(self, with_signal: int | None = None, timeout: float = 180.0) -> int:
        """Waits for its end, after a signal if one is given; returns its exit code."""
        if with_signal is not None:
            self.folders |= ray_folders(self.order)
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def end_after(self, count: int, with_signal: int) -> int:
        """Sends a signal as soon as so many results were told; returns its exit code."""
        until(lambda: len(finished(self.order.run)) >= count, self)
        return self.end(with_signal)

    def said(self) -> str:
        """What it has printed."""
        return self.order.said.read_bytes()[self._before :].decode()


def resumed(order: Order) -> None:
    """Runs an order to its end, quickly."""
    driver = Driver(dataclasses.replace(order, seconds=0.0, pages=None))
    assert driver.end() == 0, driver.said()


def undisturbed(order: Order) -> list[Record]:
    """The rows of this search where nothing goes wrong: inline, in this process."""
    folder = order.run.with_name(f"{order.run.name}-undisturbed")
    search_as(dataclasses.replace(order, executor="inline"), folder, Noted(None, 0.0), None)
    return rows(folder)


def until(met: Callable[[], bool], driver: Driver | None = None, seconds: float = 180.0) -> None:
    """Waits for something; fails after so many seconds, or if the driver has ended before."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it didn't happen in time"
        assert driver is None or driver.process.poll() is None, driver.said()
        time.sleep(0.02)


def rows(run: Path) -> list[Record]:
    """The rows that a run has by now."""
    if not (run / FILE_NAME).exists():
        return []
    with Store.open_readonly(run / FILE_NAME) as store:
        return store.records()


def finished(run: Path) -> dict[int, Record]:
    """The rows whose result was told by now, which must stay as they are."""
    with suppress(NasError):  # while the file is being made
        return {row.number: row for row in rows(run) if row.tell_seq is not None}
    return {}


def family(order: Order) -> dict[int, str]:
    """The living processes of a run's drivers, and their command lines."""
    return processes_of(order.run)


def processes_of(run: Path) -> dict[int, str]:
    """The living processes that were started with `MARK` for a run, and their command lines."""
    mark, found = f"{MARK}={run}".encode(), dict[int, str]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = line
    return found


def workers(order: Order, doing: str = "") -> list[int]:
    """The process ids of a run's actors; with "begin", of those that run a trial."""
    lines = family(order).items()
    return sorted(pid for pid, line in lines if line.startswith(f"ray::Worker.{doing}".rstrip(".")))


def ray_folders(order: Order) -> set[Path]:
    """The folders of an order's Rays that live now."""
    return ray_folders_of(order.run)


def ray_folders_of(run: Path) -> set[Path]:
    """The folders of a run's Rays that live now."""
    lines = " ".join(processes_of(run).values())
    return {Path(name) for name in re.findall(r"/tmp/nas-\w+", lines)}


@contextmanager
def killable(order: Order) -> Iterator[Driver]:
    """A driver that is stopped with all that it has started."""
    driver = Driver(order)
    try:
        yield driver
    finally:
        clean(order, ray_folders(order) | driver.folders)


def clean(order: Order, folders: set[Path]) -> None:
    """Ends what the run's drivers have left, and removes their Rays' folders."""
    for pid in family(order):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def story(found: list[Record]) -> list[tuple[Any, ...]]:
    """What a run has proposed, in order, and what came of it."""
    return [(row.number, row.arm, row.code, row.seed, row.reward) for row in found]


def check_books(order: Order) -> list[Record]:
    """Checks that a finished run has lost nothing and counted nothing twice; returns its rows."""
    found = rows(order.run)
    assert [row.number for row in found] == list(range(len(found)))
    # Each row was asked once and told once, and no other event was counted.
    events = [row.ask_seq for row in found] + [row.tell_seq or 0 for row in found]
    assert sorted(events) == list(range(1, 2 * len(found) + 1))
    paid = [row for row in found if row.charged]
    assert len(paid) == order.budget == len({row.key for row in paid})
    assert all(row.status is Status.DONE and row.reward is not None for row in paid)
    assert all(row.attempts == 1 + len(row.retried) for row in paid)
    # Each process's controller heard of each row once; the last one's of all of them.
    kinds = {"controller": "tell", "uniform": "observe"}
    heard: dict[int, list[Any]] = {}
    for line in order.heard.read_text().splitlines():
        process, *what = json.loads(line)
        heard.setdefault(process, []).append(what)
    expected = {
        json.dumps([kinds[row.source], row.number if row.source == "controller" else row.code]): (
            row.reward
        )
        for row in found
    }
    for told in heard.values():
        rewards = {json.dumps([kind, which]): reward for kind, which, reward in told}
        assert len(rewards) == len(told) and rewards.items() <= expected.items()
    assert len(list(heard.values())[-1]) == len(expected) == len(found)
    return found


def check_goes_on(order: Order) -> None:
    """The run goes on to its end: what was told stays, and all of it equals an undisturbed run."""
    before = finished(order.run)
    assert len(before) < order.budget
    resumed(order)
    after = check_books(order)
    assert {row.number: row for row in after if row.number in before} == before
    assert story(after) == story(undisturbed(order))
