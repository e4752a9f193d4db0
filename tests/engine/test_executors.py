"""Inline and Ray: the same bits, the same failures; and what only Ray can do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas.errors import RunError
from nas.executors import ComputeSettings, Executor
from nas.executors.inline import InlineExecutor
from nas.executors.ray.executor import RayExecutor
from nas.genome import Genome
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.failures import FailureKind
from nas.study.interfaces import Event
from nas.study.settings import ControlSettings, FinalistSettings, StudySettings
from nas.study.stopping import StoppingSettings
from nas.study.trial import Record, Status
from tests.engine.toys import SPACES, Mixed, make_study, matmul, noisy, rungs, total

COMPUTE = ComputeSettings(workers=2, trial_timeout=5.0)
CHOICES = ChoiceSpace({"fault": list(range(6)), "more": list(range(6))})


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[RayExecutor]:
    with RayExecutor(COMPUTE) as executor:
        yield executor


@pytest.fixture(params=["inline", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "ray":
        return request.getfixturevalue("ray_executor")
    return InlineExecutor(COMPUTE)


def ran(executor: Executor, evaluator: Any, **options: Any) -> dict[int, Record]:
    study = make_study(**options)
    executor.run(study, evaluator)
    assert study.idle_seconds() is None and study.in_flight == 0
    return dict(study.records)


@pytest.mark.parametrize(("evaluator", "budget"), [(noisy, 30), (matmul, 4)])
def test_trials_have_equal_bits(ray_executor: RayExecutor, evaluator: Any, budget: int) -> None:
    inline, distant = (
        {r.key: (r.metrics, r.seed) for r in ran(used, evaluator, budget=budget).values()}
        for used in (InlineExecutor(COMPUTE), ray_executor)
    )
    assert inline == distant and len(inline) == budget


def test_rungs_are_the_curve(executor: Executor) -> None:
    events: list[Event] = []
    study = make_study(budget=4)
    executor.run(study, rungs, events.append)
    for record in study.records.values():
        value = total(record.candidate, 0)
        assert [rung["score"] for rung in record.curve] == [value, 2 * value, 3 * value]
        assert record.reward == 3 * value
    assert [event.kind for event in events].count("rung") == 12
    first = [event for event in events if event.trial.number == 0]
    assert [event.kind for event in first] == ["asked", "rung", "rung", "rung", "completed"]


def test_what_an_evaluator_raises_has_its_kind(executor: Executor, tmp_path: Path) -> None:
    faults = {0: "raise", 1: "memory", 2: "nan", 3: "genome"}
    records = ran(
        executor, Mixed(tmp_path, faults), space=CHOICES, budget=28, max_failures=1.0
    ).values()
    kinds = {r.code[0]: r.failure.kind for r in records if r.failure is not None}
    wanted = ["ERROR", "OUT_OF_MEMORY", "NOT_FINITE", "INVALID"]
    assert kinds == {n: FailureKind[kind] for n, kind in enumerate(wanted)}
    said = next(r.failure.message for r in records if r.failure and r.code[0] == 0)
    assert said.startswith("ValueError: no such kernel (toys.py:")
    assert all(r.retried == (FailureKind.OUT_OF_MEMORY,) for r in records if r.code[0] == 1)


def test_data_that_can_t_be_used_stops_the_run(executor: Executor, tmp_path: Path) -> None:
    study = make_study(space=CHOICES)
    evaluator = Mixed(tmp_path, dict.fromkeys(range(6), "data"))
    with pytest.raises(Exception, match=r"^train.json: missing; give --data$"):
        executor.run(study, evaluator)
    assert study.in_flight == 0 and study.idle_seconds() == 0.0


def test_finalists_get_their_length(executor: Executor) -> None:
    def longer(candidate: dict[str, int], seed: int, length: int = 1) -> float:
        return float(length)

    study = make_study(budget=4)
    executor.run(study, longer)
    study.start_finalists(FinalistSettings(count=1, length=3, repeats=2))
    executor.run(study, longer)
    rewards = [r.reward for r in study.records.values()]
    assert rewards == [1.0] * 4 + [3.0] * 4


def test_finalists_are_told_which_look_they_are(executor: Executor) -> None:
    def looked(candidate: dict[str, int], seed: int, repeat: int = 0) -> float:
        return float(repeat)

    study = make_study(budget=4)
    executor.run(study, looked)
    study.start_finalists(FinalistSettings(count=1, repeats=3))
    executor.run(study, looked)
    # One of each arm.
    assert sorted(r.reward or 0.0 for r in study.records.values()) == [0.0] * 4 + [1, 1, 2, 2, 3, 3]


def test_genomes_cross_as_json(executor: Executor) -> None:
    class Zoo(ChoiceSpace):
        def decode(self, code: Any) -> Any:
            from search_spaces import zoo

            return zoo.genome("spinenet-49")

        def key(self, candidate: Any) -> str:
            return str(candidate.key)

    def is_genome(candidate: Genome, seed: int) -> float:
        return float(type(candidate).__name__ == "Genome")

    records = ran(executor, is_genome, space=Zoo({"a": [0]}), budget=1)
    assert records[0].reward == 1.0
    assert Genome.from_json(records[0].candidate_json).key == records[0].key


def test_a_killed_worker_is_replaced_and_its_trial_asked_again(
    ray_executor: RayExecutor, tmp_path: Path
) -> None:
    evaluator = Mixed(tmp_path, {0: "once kill", 1: "once kill"})
    records = ran(
        ray_executor,
        evaluator,
        space=ChoiceSpace({"fault": [0, 1, 2], "more": [0, 1]}),
        budget=6,
        settings=StudySettings(backoff=(0.1,)),
    ).values()
    assert all(r.status is Status.DONE for r in records) and len(records) == 6
    lost = [r for r in records if r.retried]
    assert lost and all(r.code[0] < 2 for r in lost)
    assert all(r.attempts == 1 + len(r.retried) for r in records)


def test_a_bare_ray_is_private(ray_executor: RayExecutor) -> None:
    """Every port of this process's Ray listens on loopback, and nowhere else."""
    import ray

    node: Any = ray._private.worker.global_worker.node
    session = node.get_session_dir_path()
    assert session.startswith("/tmp/nas-")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and os.environ["RAY_AUTH_MODE"] == "token"
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if session not in (process / "cmdline").read_text().replace("\0", " "):
                continue
            links = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    met = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                met.add(fields[1].split(":")[0])
    assert met and met <= loopback


@pytest.mark.faults
def test_a_trial_over_its_time_is_killed(ray_executor: RayExecutor, tmp_path: Path) -> None:
    evaluator = Mixed(tmp_path, {0: "hang", 1: "once hang"})
    start = time.monotonic()
    records = ran(
        ray_executor,
        evaluator,
        space=ChoiceSpace({"fault": [0, 1, 2]}),
        budget=3,
        max_failures=1.0,
    )
    by_fault = {r.code[0]: r for r in records.values()}
    assert by_fault[0].failure and by_fault[0].failure.kind is FailureKind.TIMEOUT
    assert by_fault[1].status is Status.DONE and by_fault[1].retried == (FailureKind.TIMEOUT,)
    assert by_fault[2].retried == () and time.monotonic() - start < 60


@pytest.mark.faults
def test_a_candidate_that_always_kills_is_withdrawn(
    ray_executor: RayExecutor, tmp_path: Path
) -> None:
    study = make_study(
        space=ChoiceSpace({"fault": [0, 1, 2, 3]}),
        budget=4,
        max_failures=1.0,
        settings=StudySettings(backoff=(0.05,)),
    )

    def closing(event: Event) -> None:
        # Once withdrawn it would be proposed again, without end: the test ends the search.
        if event.kind == "completed" and event.failure is not None:
            study.close()

    ray_executor.run(study, Mixed(tmp_path, {0: "kill"}), closing)
    bad = next(r for r in study.records.values() if r.code == (0,))
    assert bad.status is Status.WITHDRAWN and bad.attempts == 4 and not bad.charged
    assert bad.failure and "the worker died" in bad.failure.message


@pytest.mark.faults
def test_an_evaluator_that_can_t_start_says_so(ray_executor: RayExecutor) -> None:
    class Unprepared:
        def prepare(self) -> None:
            raise OSError("no cache")

        def __call__(self, candidate: Any, seed: int) -> float:
            return 0.0

    with pytest.raises(RunError, match="can't be prepared: OSError: no cache"):
        ray_executor.run(make_study(), Unprepared())
    with pytest.raises(RunError, match="can't be sent to a worker"):
        ray_executor.run(make_study(), threading.Lock())  # type: ignore[arg-type]


def test_an_evaluator_whose_module_a_worker_can_t_find_is_refused(
    ray_executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = ModuleType("made_while_running")
    exec("def evaluate(candidate, seed): return 0.0", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(RunError, match=r"can't be read in a worker .*'made_while_running'"):
        ray_executor.run(make_study(), module.evaluate)


@pytest.mark.faults
def test_an_address_without_ray_is_named() -> None:
    program = (
        "from nas.executors.ray.executor import *;"
        "RayExecutor(ComputeSettings(address='127.0.0.1:1')).__enter__()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "RunError: compute.address: no Ray answers at '127.0.0.1:1'" in done.stderr


def test_a_ray_that_doesn_t_start_is_told_in_one_line() -> None:
    program = (
        "import ray, nas.executors.ray.cluster as c; from nas.executors import ComputeSettings\n"
        "def late(**_): raise Exception('The current node timed out\\n during startup')\n"
        "ray.init = late; c.running_ray(ComputeSettings()).__enter__()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    last = done.stderr.strip().splitlines()[-1]
    assert "RunError: Ray didn't start" in last and "timed out during startup" in last


@pytest.mark.faults
def test_overhead(ray_executor: RayExecutor) -> None:
    """A trivial trial through an actor costs under 2 ms on a quiet machine; 6 on a busy one."""
    told: list[float] = []
    study = make_study(space=ChoiceSpace({f"l{i}": list(range(8)) for i in range(9)}), budget=400)
    ray_executor.run(
        study,
        total,
        lambda event: told.append(time.monotonic()) if event.kind == "completed" else None,
    )
    assert (told[-1] - told[0]) / len(told) < 0.006


def test_five_thousand_trials_inline_take_seconds() -> None:
    space = ChoiceSpace({f"l{i}": list(range(8)) for i in range(10)})
    start = time.process_time()
    result = search(space, total, "random", budget=5000)
    assert len(result.trials) == 5000 and time.process_time() - start < 8


def test_inline_restores_what_it_pins() -> None:
    import torch

    threads, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(3)
    seen: list[int] = []

    def look(candidate: dict[str, int], seed: int) -> float:
        seen.append(torch.get_num_threads())
        return 0.0

    search(
        SPACES["product"](),
        look,
        "random",
        budget=2,
        compute=ComputeSettings(executor="inline", threads=2),
    )
    assert seen == [2, 2] and torch.get_num_threads() == 3 and dict(os.environ) == environment
    torch.set_num_threads(threads)


def test_an_event_says_that_a_trial_was_stopped(executor: Executor) -> None:
    study = make_study(budget=9, stopping=StoppingSettings(rungs=(1, 2)))
    events: list[Event] = []
    executor.run(study, rungs, events.append)
    told = {event.trial.number: event.stopped for event in events if event.kind == "completed"}
    rows = study.records
    assert told == {number: rows[number].status is Status.STOPPED for number in told}
    assert set(told.values()) == {True, False}
    assert not any(event.stopped for event in events if event.kind != "completed")


def test_a_timeout_inline_is_seen_between_rungs() -> None:
    def slow(candidate: dict[str, int], seed: int) -> Iterator[float]:
        for rung in range(100):
            time.sleep(0.02)
            yield float(rung)

    compute = ComputeSettings(executor="inline", trial_timeout=0.1)
    study = make_study(budget=1)
    InlineExecutor(compute).run(study, slow)
    record = study.records[0]
    assert record.failure and record.failure.kind is FailureKind.TIMEOUT
    assert record.attempts == 2 and 3 <= len(record.curve) <= 7


def test_search_gives_its_result_in_order_and_goes_on(tmp_path: Path) -> None:
    calls: list[int] = []

    def score(candidate: dict[str, int], seed: int) -> dict[str, float]:
        calls.append(seed)
        return {"score": total(candidate, seed), "latency": float(candidate["l0"])}

    options: dict[str, Any] = {
        "objective": "score",
        "limits": {"size": 12},
        "costs": lambda candidate: {"size": total(candidate, 0)},
        "run": tmp_path / "run",
        "settings": StudySettings(finalists=FinalistSettings(count=2, repeats=2)),
    }
    first = search(SPACES["product"](), score, "random", budget=20, **options)
    assert [r.clock for r in first.trials] == sorted(r.clock for r in first.trials)
    assert len(first.trials) == 20 and first.best and first.best.costs["size"] <= 12
    assert first.best_observed in first.pareto and len(first.finalists) == 4
    count = len(calls)
    again = search(SPACES["product"](), score, "random", budget=20, **options)
    assert len(calls) == count and again == first
    more = search(SPACES["product"](), score, "random", budget=25, **options)
    assert more.trials[:20] == first.trials and len(more.trials) == 25


def test_a_missing_metric_is_named() -> None:
    with pytest.raises(RunError, match=r"objective\.maximize is 'ap50'.*extra, score"):
        search(SPACES["product"](), noisy, "random", budget=3, objective="ap50")


def test_the_control_share_reaches_the_study() -> None:
    settings = StudySettings(control=ControlSettings(share=0.5))
    found = search(SPACES["product"](), total, "random", budget=10, settings=settings)
    assert settings.control.is_full_arm
    assert [r.arm for r in found.trials] == ["control", "controller"] * 5
    assert found.best_of("control") is not None
