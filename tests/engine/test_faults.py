"""Twelve faults, with real processes: nothing finished is lost, and nothing counts twice.

With results told in the order of proposals, the whole run must equal an undisturbed one.

| fault | where |
|---|---|
| worker SIGKILL | `test_worker_faults.py`: `test_worker_sigkill` |
| worker hangs past its limit | `test_worker_faults.py`: `test_worker_hang` |
| worker out of memory (RLIMIT_AS) | `test_worker_faults.py`: `test_worker_out_of_memory` |
| driver SIGKILL | `test_driver_sigkill`; without Ray and by Ctrl-C: `test_driver_death.py` |
| driver SIGTERM | `test_driver_sigterm`; without Ray: `test_driver_death.py` |
| Ray's head, or its node, is killed | `test_ray_head_killed` |
| disk full | `test_disk_full_for_the_store`, `test_disk_full_for_a_search`; for a training, |
|  | `tests/training/test_training_faults.py`: `test_disk_full_for_a_training` |
| the last row is torn | `test_last_row_torn` |
| corrupt checkpoint | `tests/training/test_training_faults.py`: `test_corrupt_checkpoint` |
| clock jump | `test_clock_jump` (an injected clock), `test_wall_clock_jump` |
| duplicate completion | `test_worker_faults.py`: `test_duplicate_completion` |
| late completion after a new attempt | `test_worker_faults.py`: `test_late_completion` |

A hundred kills of one run are in `test_random_kills.py`; what follows a kill where results are told
as they come, in `test_driver_death.py`; the rule of each kind of failure, in `test_study.py`; every
controller's replay, in `test_controllers.py`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from nas.study.store import FILE_NAME, Store
from nas.study.trial import Status
from tests.engine.driver import Order
from tests.engine.onlooker import (
    Driver,
    check_goes_on,
    family,
    finished,
    killable,
    ray_folders,
    rows,
    until,
)
from tests.engine.small_disk import fill, small_disk
from tests.engine.toys import drive, make_study, scored

# The driver and its Ray


@pytest.mark.faults
def test_driver_sigkill(tmp_path: Path) -> None:
    order = Order(tmp_path / "run", "ppo", "ray", "proposal", seconds=0.2)
    with killable(order) as driver:
        until(lambda: len(finished(order.run)) >= 8, driver)
        assert driver.end(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not family(order))  # Ray and its workers end by themselves
        check_goes_on(order)


@pytest.mark.faults
def test_driver_sigterm(tmp_path: Path) -> None:
    order = Order(tmp_path / "run", "predictor", "ray", "proposal", seconds=0.2)
    with killable(order) as driver:
        until(lambda: len(finished(order.run)) >= 12, driver)
        folders = ray_folders(order)
        assert driver.end(signal.SIGTERM) == 130
        assert "stopped after" in driver.said() and "nothing finished is lost" in driver.said()
        assert folders and not any(folder.exists() for folder in folders)
        assert all(not row.retried for row in rows(order.run))  # a stop on purpose is no failure
        until(lambda: not family(order))
        check_goes_on(order)


@pytest.mark.faults
@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_ray_head_killed(tmp_path: Path, part: str) -> None:
    order = Order(tmp_path / "run", "evolution", "ray", "proposal", seconds=0.2)
    with killable(order) as driver:
        until(lambda: len(finished(order.run)) >= 8, driver)
        programs = {line.split()[0].rpartition("/")[2]: pid for pid, line in family(order).items()}
        os.kill(programs[part], signal.SIGKILL)
        assert driver.end() == 2
        last = driver.said().splitlines()[-1]
        assert last.startswith("driver: Ray has died") and "resume this run" in last
        check_goes_on(order)


# The disk


def test_disk_full_for_the_store(tmp_path: Path) -> None:
    """An empty store has four pages, a run of thirty trials seven."""
    order = Order(tmp_path / "run", "random", "inline", "proposal", pages=5)
    driver = Driver(order)
    assert driver.end() == 2
    said = driver.said().splitlines()
    assert len(said) == 1 and "database or disk is full" in said[0]
    assert "make room on the disk, then resume" in said[0] and str(order.run) in said[0]
    assert finished(order.run)
    check_goes_on(order)


@pytest.mark.faults
def test_disk_full_for_a_search(tmp_path: Path) -> None:
    """First the store has room for some rows, then its folder has none for anything."""
    with small_disk(tmp_path / "run") as disk:  # the notes lie beside it, on another
        order = Order(disk, "reinforce", "inline", "proposal")
        ballast = fill(disk, leave=200 * 1024)
        for _ in range(2):
            driver = Driver(order)
            assert driver.end() == 2
            said = driver.said().splitlines()
            assert len(said) == 1 and "make room on the disk" in said[0], said
            fill(disk)
        ballast.unlink()
        assert finished(order.run)
        check_goes_on(order)


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_last_row_torn(tmp_path: Path, damage: str) -> None:
    """The last transaction is lost as a whole, and no other."""
    order = Order(tmp_path / "run", "reinforce", "inline", "proposal", seconds=0.05)
    Driver(order).end_after(9, signal.SIGKILL)
    whole, told = rows(order.run), finished(order.run)
    with (order.run / f"{FILE_NAME}-wal").open("r+b") as log:
        end = log.seek(0, os.SEEK_END) - 1000
        log.truncate(end)
        if damage == "garbled":
            log.seek(end)
            log.write(b"\xff" * 1000)
    kept = finished(order.run)
    assert rows(order.run) != whole and len(kept) >= len(told) - 1
    assert kept == {number: told[number] for number in kept}
    check_goes_on(order)


# Clocks


def test_clock_jump() -> None:
    """A budget in time is used up, what is finished stays, and trials don't mind."""
    now, store = [50.0], Store.open(None)
    options: dict[str, Any] = {"clock": lambda: now[0], "controller": "predictor"}
    timed = make_study(store, budget="1h", **options)
    drive(timed, limit=12)
    running = timed.ask()
    now[0] += 3.0e8
    assert running is not None and timed.end_if_late() and timed.ask() is None
    assert not timed.tell(running, scored(99.0)) and timed.completed == 12
    before = {number: timed.records[number] for number in range(12)}
    now[0] = -7.0  # another boot
    counted = make_study(store, budget=20, **options)
    again = counted.ask()
    now[0] += 3.0e8
    assert again is not None and counted.tell(again, scored(float(sum(again.code))))
    drive(counted)
    assert counted.completed == 20
    assert {number: counted.records[number] for number in range(12)} == before
    clocks = [row.clock for row in counted.records.values() if row.status is Status.DONE]
    assert clocks == sorted(clocks) and clocks[-1] == pytest.approx(6.0e8)


def test_wall_clock_jump(tmp_path: Path) -> None:
    order = Order(tmp_path / "run", "evolution", "inline", "proposal", seconds=0.02, jumps=True)
    Driver(order).end_after(8, signal.SIGKILL)
    check_goes_on(order)
    assert all(0.0 <= row.clock < 600.0 for row in rows(order.run))
