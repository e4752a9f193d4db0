"""A hundred SIGKILLs of drivers and workers, at random instants of one run."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from nas.study.failures import FailureKind
from nas.study.trial import Status
from tests.engine.driver import Order
from tests.engine.onlooker import (
    Driver,
    check_books,
    finished,
    killable,
    resumed,
    rows,
    story,
    undisturbed,
    until,
    workers,
)

KILLS, SEED = 100, 9
INLINE, WORKER = 0.6, 0.88
"""The shares of drivers without Ray, and of the kills with Ray that take a worker: a new driver
costs a second, a new worker too, a new Ray five and more."""
MARGIN = 1
"""Losses of a trial under way above which the next kill waits; at the fourth one it would be
withdrawn, by the rule of what kills its worker again and again, and the run would be another."""


def losses(order: Order) -> tuple[int, int]:
    """The losses in the whole run, and the most of a trial under way."""
    counts = [(row.retried.count(FailureKind.LOST), row.status) for row in rows(order.run)]
    flight = [count for count, status in counts if status is Status.ASKED]
    return sum(count for count, _ in counts), max(flight, default=0)


class Killer:
    """Kills a driver or its workers, and keeps what was finished before each kill."""

    def __init__(self, order: Order, seed: int) -> None:
        self.order, self.rng = order, random.Random(seed)
        self.kills, self.before = Counter[str](), dict(finished(order.run))

    def kill_driver(self, driver: Driver) -> None:
        """At any instant: while it starts, goes over its rows, or runs trials."""
        time.sleep(self.rng.uniform(0.0, 2.0))
        self._wait(driver)
        assert driver.end(signal.SIGKILL) == -signal.SIGKILL, driver.said()
        self.kills[f"driver {driver.order.executor}"] += 1

    def kill_worker(self, driver: Driver) -> None:
        """Kills one, and waits until that is known, or all are at work and so nothing was hit.

        A driver gives up when three in a row die while they start, so that isn't done.
        """
        self._wait(driver)
        until(lambda: self._at_work(set()) >= 1, driver)
        time.sleep(self.rng.uniform(0.0, 0.4))
        lost = losses(self.order)[0]
        try:
            killed = self.rng.choice(workers(self.order))
            os.kill(killed, signal.SIGKILL)
        except (IndexError, ProcessLookupError):  # it was just being replaced
            return
        self.kills["worker"] += 1
        until(lambda: losses(self.order)[0] > lost or self._at_work({killed}) == 2, driver)

    def _at_work(self, but: set[int]) -> int:
        return len(set(workers(self.order, "begin")) - but)

    def _wait(self, driver: Driver) -> None:
        """Waits until no trial is near its last attempt; then looks at what is finished."""
        until(lambda: losses(self.order)[1] <= MARGIN, driver)
        found = finished(self.order.run)
        assert {number: found[number] for number in self.before} == self.before
        self.before = found


@pytest.mark.faults
def test_a_hundred_random_kills(tmp_path: Path) -> None:
    # No end is in sight until the kills are over: the run ends twenty trials after them.
    run = tmp_path / "run"
    endless = Order(run, "evolution", "ray", "proposal", seconds=0.4, budget=100_000)
    plan, killer = random.Random(SEED), Killer(endless, SEED)
    while killer.kills.total() < KILLS:
        executor = "inline" if plan.random() < INLINE else "ray"
        with killable(dataclasses.replace(endless, executor=executor)) as driver:
            while executor == "ray" and plan.random() < WORKER:
                killer.kill_worker(driver)
            killer.kill_driver(driver)
    assert killer.kills["worker"] >= 50 and killer.kills.total() - killer.kills["worker"] >= 20

    paid = sum(row.charged for row in rows(endless.run))
    order = dataclasses.replace(endless, executor="inline", budget=paid + 20)
    resumed(order)
    after = check_books(order)
    assert {number: after[number] for number in killer.before} == killer.before
    assert sum(len(row.retried) for row in after) >= KILLS / 2  # most have hit a trial
    assert all(set(row.retried) <= {FailureKind.LOST} for row in after)
    assert story(after) == story(undisturbed(order))
