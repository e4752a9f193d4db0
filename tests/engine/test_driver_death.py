"""The driver is killed at any instant; nothing that was finished is lost or run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from nas.store import FILE_NAME, Store
from nas.trial import Record, Status
from tests.engine.driver import BUDGET


def start(run: Path, executor: str, controller: str, seconds: float) -> subprocess.Popen[str]:
    arguments = [str(run), executor, controller, str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.engine.driver", *arguments],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them, and so this, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def rows(run: Path) -> list[Record]:
    if not (run / FILE_NAME).exists():
        return []
    with Store.open_readonly(run / FILE_NAME) as store:
        return store.records()


def killed_after(run: Path, process: subprocess.Popen[str], finished: int, with_signal: int) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            done = sum(row.status is Status.DONE for row in rows(run))
        except Exception:  # the file is being made
            done = 0
        if done >= finished:
            process.send_signal(with_signal)
            break
        time.sleep(0.02)
    return process.communicate(timeout=60)[1]


def check_resumption(tmp_path: Path, executor: str, controller: str, with_signal: int) -> str:
    run, whole = tmp_path / "killed", tmp_path / "whole"
    said = killed_after(run, start(run, executor, controller, 0.3), 8, with_signal)
    before = {row.number: row for row in rows(run) if row.status is not Status.ASKED}
    assert 8 <= len(before) < BUDGET
    process = start(run, executor, controller, 0.0)
    assert process.wait(120) == 0, process.stderr and process.stderr.read()
    after = rows(run)
    assert {row.number: row for row in after if row.number in before} == before
    paid = [row for row in after if row.charged]
    assert len(paid) == BUDGET and all(row.status is Status.DONE for row in paid)
    evaluated = Counter((run / "evaluated.txt").read_text().split())
    kept = {str(row.seed) for row in before.values()}
    # What was in flight may have been evaluated and not told: it alone is run again.
    assert all(evaluated[seed] == 1 for seed in kept)
    assert sum(evaluated.values()) <= BUDGET + 2
    if executor == "inline":
        assert start(whole, executor, controller, 0.0).wait(60) == 0
        assert [row.code for row in rows(whole)] == [row.code for row in after]
    return said


def test_sigkill_loses_nothing(tmp_path: Path) -> None:
    check_resumption(tmp_path, "inline", "random", signal.SIGKILL)


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_on_purpose_says_how_to_go_on(tmp_path: Path, with_signal: int) -> None:
    said = check_resumption(tmp_path, "inline", "random", with_signal)
    assert "nothing finished is lost" in said


@pytest.mark.faults
@pytest.mark.parametrize("controller", ["random", "ppo"])
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_any_controller_and_executor(tmp_path: Path, controller: str, executor: str) -> None:
    check_resumption(tmp_path, executor, controller, signal.SIGKILL)


@pytest.mark.faults
def test_a_stop_on_purpose_with_ray(tmp_path: Path) -> None:
    said = check_resumption(tmp_path, "ray", "random", signal.SIGINT)
    assert "nothing finished is lost" in said
