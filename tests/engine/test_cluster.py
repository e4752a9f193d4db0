"""A cluster of three nodes on this machine, of which one is lost while a search runs."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.executors import ComputeSettings
from nas.study.failures import FailureKind
from nas.study.store import FILE_NAME, Store
from nas.study.trial import Status
from tests.engine.cluster_driver import BUDGET, Diary, processes

pytestmark = pytest.mark.faults
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a search that has lost a node and got another."""
    folder = tmp_path_factory.mktemp("cluster")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="nas-", dir="/tmp") as own:  # a socket's path is short
        environment = {
            **bare,
            "RAY_TMPDIR": own,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else not on loopback
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",  # a lost node is noticed in seconds
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.engine.cluster_driver", str(folder)],
                cwd=Path(__file__).parents[2],
                env=environment,
                capture_output=True,
                text=True,
                timeout=400,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            (folder / "stderr.txt").write_text(done.stderr)
            deadline = time.monotonic() + 20
            while processes(own):
                assert time.monotonic() < deadline, "something that was started still runs"
                time.sleep(0.2)
        finally:
            for process in processes(own):
                os.kill(process, signal.SIGKILL)
        yield folder


def test_a_search_that_loses_a_node_ends_complete(ran: Path) -> None:
    with Store.open_readonly(ran / FILE_NAME) as store:
        rows = {row.number: row for row in store.records()}
    paid = [row for row in rows.values() if row.charged]
    assert len(paid) == BUDGET and all(row.status is Status.DONE for row in paid)
    diary = Diary(ran / "diary.txt")
    ((_, lost),) = diary.lines("lost")
    begun, ended = (
        {int(seed) for word in words for _, seed, node in diary.lines(word) if node == lost}
        for words in (("began", "held"), ("ended",))
    )
    retried = {row.seed: row.retried for row in rows.values() if row.retried}
    assert len(begun - ended) == 1
    assert retried == dict.fromkeys(begun - ended, (FailureKind.LOST,))
    # One told outcome for each trial, from its last attempt; no attempt was begun twice.
    asked = Counter((number, attempt) for _, number, attempt, _ in diary.lines("asked"))
    told = Counter((number, attempt) for _, number, attempt, _ in diary.lines("completed"))
    assert set(asked.values()) == set(told.values()) == {1}
    assert set(told) == {(str(row.number), str(row.attempts)) for row in paid}


def test_the_others_go_on_and_a_node_that_joins_is_used(ran: Path) -> None:
    diary = Diary(ran / "diary.txt")
    ((_, lost),), ((_, added),) = diary.lines("lost"), diary.lines("added")
    nodes = [node for _, _, node in diary.lines("ended")]
    assert len({*nodes, lost}) == 4
    assert added in nodes[14:] and added not in nodes[:14]
    # While there were two places for three workers, for longer than a start may take.
    said = "1 of 3 workers found no room in 0 s; the search goes on with the others"
    assert (ran / "stderr.txt").read_text().count(said) == 1


def test_a_node_without_the_data_is_named(ran: Path) -> None:
    said = (ran / "refusal.txt").read_text()
    assert re.fullmatch(rf"on \S+ \(127\.0\.0\.1\): {re.escape(str(ran))}/missing[^\n]*", said)


def test_no_room_for_any_worker_is_an_error(ran: Path) -> None:
    said = (ran / "no room.txt").read_text()
    assert said.startswith("no worker started in 1 s; 3 workers with 2 GPUs each were asked for:")


def test_the_cluster_s_gpus_are_shared(ran: Path) -> None:
    # Of a trial that takes 8.5 of 24 GiB, and a fifth more, there is room for two.
    found = ComputeSettings.model_validate_json((ran / "shared.json").read_text())
    assert (found.workers, found.gpus) == (2, 0.5)


def test_all_ports_are_on_loopback(ran: Path) -> None:
    met = set((ran / "listens.txt").read_text().split())
    assert met and met <= LOOPBACK
