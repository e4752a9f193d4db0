"""Where a private Ray's files lie, what is left of them, and why its workers died."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas import signals, temporary
from nas.errors import RunError
from nas.executors import ComputeSettings, cluster
from nas.executors.cluster import LONGEST, cause, running_ray
from nas.temporary import temporary_folder
from tests.engine.small_disk import fill, small_disk


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    return tmp_path / "t"


def test_a_folder_lies_in_tmpdir_and_goes(place: Path) -> None:
    with temporary_folder("kind-") as folder:
        assert folder.parent == place and folder.name.startswith("nas-kind-")
        (folder / "file").touch()
    assert list(place.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), temporary_folder():
        raise KeyboardInterrupt
    assert list(place.iterdir()) == []


def test_folders_can_be_removed_at_once(place: Path) -> None:
    with temporary_folder() as folder:
        temporary.remove_all()
        assert not folder.exists()


def test_a_tmpdir_that_is_none_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    for name, reason in {"gone": "No such file", "file": "Not a directory"}.items():
        monkeypatch.setenv("TMPDIR", str(place / name))
        with pytest.raises(RunError, match=rf"{name}: {reason}.*set TMPDIR"), temporary_folder():
            pass


def test_too_long_a_path_gives_way_to_a_short_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with temporary_folder() as folder:
        assert folder.parent == long
    with temporary_folder(longest=LONGEST) as folder:
        assert len(os.fsencode(folder)) <= LONGEST
        socket = f"{folder}/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
        assert len(socket) <= 107
        assert not list(long.iterdir())


def test_too_little_room_is_told_with_what_is_needed(place: Path) -> None:
    with (
        pytest.raises(RunError, match=r"t: \d+ MB are free, and 1000000000 MB are needed"),
        temporary_folder(room=10**15),
    ):
        pass
    assert list(place.iterdir()) == []


def test_a_full_one_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        monkeypatch.setenv("TMPDIR", str(disk))
        with pytest.raises(RunError, match="disk: No space left"), temporary_folder():
            pass


# Ray itself is a stand-in: what is asked for, and what becomes of a start that is broken off


def stand_in(monkeypatch: pytest.MonkeyPatch, init: Any) -> list[str]:
    calls: list[str] = []
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=init,
        shutdown=lambda: calls.append("shutdown"),
        job_config=SimpleNamespace(JobConfig=SimpleNamespace),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_IGNORE_UNHANDLED_ERRORS", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    return calls


def test_ray_gets_a_folder_in_tmpdir(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(cluster, "LONGEST", 1000)
    monkeypatch.setattr(cluster, "_has_shared_memory", lambda: False)
    calls = stand_in(monkeypatch, lambda **options: asked.update(options))
    with running_ray(ComputeSettings(workers=1)):
        assert Path(asked["_temp_dir"]).parent == place
        assert asked["_plasma_directory"] == asked["_temp_dir"]
        assert not calls
    assert calls == ["shutdown"] and list(place.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_start_that_is_broken_off_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def init(**_: Any) -> None:
        raise error("late")

    monkeypatch.setattr(cluster, "LONGEST", 1000)
    calls = stand_in(monkeypatch, init)
    expected = {ValueError: RunError, SystemExit: signals.Stopped}.get(error, error)
    with pytest.raises(expected) as caught, running_ray(ComputeSettings(workers=1)):
        pass
    assert calls == ["shutdown"] and list(place.iterdir()) == []
    if error is SystemExit:  # what Ray's own handler of SIGTERM raises
        assert signals.number_of(caught.value) == signal.SIGTERM


def test_ray_s_signal_handlers_are_not_left_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LONGEST", 1000)
    stand_in(monkeypatch, lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    with signals.raised() as ours, running_ray(ComputeSettings(workers=1)):
        assert signal.getsignal(signal.SIGTERM) is ours
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_why_a_worker_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = RuntimeError(
        "The actor died because of an error raised in its creation task, ray::Worker.__init__()\n"
        "  File \"worker.py\", line 3\nModuleNotFoundError: No module named 'mine'"
    )
    assert cause(raised) == "ModuleNotFoundError: No module named 'mine'"
    died = RuntimeError("The actor died unexpectedly.\n\tclass_name: Worker\n")
    assert cause(died) == "The actor died unexpectedly. class_name: Worker"
    logs = tmp_path / "session_latest/logs"
    logs.mkdir(parents=True)
    (logs / "worker-1.err").write_text(
        ":job_id:01\nTraceback (most recent call last):\n  File ...\nImportError: broken\n"
    )
    monkeypatch.setattr(cluster, "_sessions", {tmp_path})
    assert cause(died) == "ImportError: broken (The actor died unexpectedly. class_name: Worker)"
