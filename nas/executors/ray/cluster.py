"""The Ray that trials run on: this process's, the one at an address, or a private one."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from nas import signals
from nas.errors import RunError, one_line
from nas.executors.settings import ComputeSettings
from nas.executors.worker import thread_environment
from nas.temporary import temporary_folder

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds that a cluster's head may be silent: it may be started again, and Ray gives it 60."""

STORE = 100_000_000
"""Bytes of Ray's object store: candidates and metrics only."""
ROOM = 50_000_000
"""Bytes that a session's logs may take; they must be free in its folder."""
LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes that the path of a session's folder may have: Linux takes 107 for one of its sockets."""

QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
"""Options of `ray.init` with which Ray prints nothing but errors."""

_sessions: set[Path] = set()  # folders of the private Ray of this process


@contextmanager
def running_ray(compute: ComputeSettings) -> Iterator[ModuleType]:
    """Gives a Ray that runs: this process's, the one at an address, or a private one.

    A private one listens on loopback only, has a token of its own, no dashboard, and reports no
    usage; its files lie in a folder of its own, which is removed. One that ran before is left
    running.

    Args:
        compute: The settings; their address decides, unless this process has a Ray already.

    Raises:
        RunError: if no Ray answers at the address, or none can be started here.
    """
    _set_environment(compute)
    import ray

    if ray.is_initialized():
        yield ray
        return
    with ExitStack() as stack:
        if compute.address is not None:
            _connect(ray, compute.address, compute.threads, stack)
        else:
            _start_private(ray, compute.workers, stack)
        yield ray


def _set_environment(compute: ComputeSettings) -> None:
    """Sets the variables that Ray reads when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if compute.address is not None:  # a cluster has been started with variables of its own
        return
    if "ray" in sys.modules and "RAY_AUTH_TOKEN" not in os.environ:
        log.warning(
            "Ray was imported before: it may listen beyond this machine, without a token; "
            "import it after the search has begun, or not at all"
        )
        return
    # Without it Ray puts the machine's outer address in the place of loopback, and listens there.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _connect(ray: ModuleType, address: str, threads: int, stack: ExitStack) -> None:
    """Connects to the Ray at an address, until the stack is closed.

    Raises:
        RunError: if none answers there.
    """
    # Workers on other machines don't inherit this environment, so it is sent to them.
    inherited = {key: os.environ[key] for key in ("PYTHONSAFEPATH",) if key in os.environ}
    environment = {"env_vars": thread_environment(threads) | inherited}
    stack.callback(ray.shutdown)
    try:
        _check_reachable(address)
        with signals.kept():
            ray.init(
                address=address,
                runtime_env=environment,
                job_config=_without_driver_folders(ray),
                **QUIET,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"compute.address: no Ray answers at {address!r} ({one_line(error, 200)}); start one "
            "there, or leave the address out"
        ) from error


def _start_private(ray: ModuleType, workers: int, stack: ExitStack) -> None:
    """Starts a Ray of this process's own, until the stack is closed.

    Raises:
        RunError: if it can't be started.
    """
    folder = stack.enter_context(temporary_folder(room=_room(), longest=LONGEST))
    stack.callback(_sessions.discard, folder)
    _sessions.add(folder)
    # Ray would fall back to the folder by itself, but not where there is no /dev/shm.
    shared: dict[str, Any] = {} if _has_shared_memory() else {"_plasma_directory": str(folder)}
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", FutureWarning)
    # Before the start: one that is broken off leaves processes behind, and Ray says that it runs.
    stack.callback(ray.shutdown)
    try:
        with signals.kept():
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=STORE,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                job_config=_without_driver_folders(ray),
                **shared,
                **QUIET,
            )
    except SystemExit:  # Ray's own answer to SIGTERM, while it starts
        raise signals.Stopped(number=signal.SIGTERM) from None
    except Exception as error:  # Ray raises no narrower one if a process is late
        raise RunError(
            f"Ray didn't start on this machine ({one_line(error, 200)}; its files were in "
            f"{folder.parent}); nothing finished is lost: type this again when the machine is less "
            "busy"
        ) from error


def cause(error: BaseException) -> str:
    """Returns why a worker died: the last line of its traceback, else Ray's message.

    Ray's message begins with the place of a process that ended. The reason is its last line if the
    actor's constructor failed; else it is in the worker's log, which only a private Ray has here.

    Args:
        error: Ray's own, such as an `ActorDiedError`.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "creation task" in lines[0]:
        return lines[-1]
    logs = [log for log in map(_text, _logs()) if "Traceback (most recent call last)" in log]
    traceback = [line.strip() for line in logs[-1].splitlines() if line.strip()] if logs else []
    return f"{traceback[-1]} ({one_line(error, 100)})" if traceback else one_line(error)


def _logs() -> Sequence[Path]:
    """Returns what workers of this process's own Ray wrote to their standard error, newest last."""
    logs = [log for folder in _sessions for log in folder.glob("session_latest/logs/worker-*.err")]
    return sorted(logs, key=lambda log: log.stat().st_mtime)


def _text(log: Path) -> str:
    """Returns the end of a log; nothing of one that can't be read."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-10_000:]
    except OSError:
        return ""


def _without_driver_folders(ray: ModuleType) -> Any:
    """Returns a job's config that sends no folder of the driver to the workers.

    Ray adds the program's folder and the current one to this list, and a worker puts them in front
    of Python's own modules. `nas.import_path.Program` finds what a worker needs of them, behind all
    others.
    """
    config = ray.job_config.JobConfig()
    config._py_driver_sys_path = _Closed()
    return config


class _Closed(list[str]):
    """A list that stays empty: Ray extends it with the folders when it connects."""

    def extend(self, entries: Iterable[str]) -> None:
        """Adds nothing."""


class Lifeline:
    """Notices that Ray has died, before Ray's library ends this process.

    The library does so without a message, about 60 s after the death of the head (its GCS) and 20 s
    after that of this machine's node (its raylet).

    Attributes:
        is_cut: Whether Ray was found dead.
    """

    def __init__(self, ray: ModuleType, *, is_private: bool) -> None:
        """Begins to watch.

        Args:
            ray: The module, connected to a cluster.
            is_private: Whether this process started it; then nobody starts it again, and the head
                is dead at its first silence.
        """
        context = ray.get_runtime_context()
        own_node = context.get_node_id()
        raylets = [
            f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            for node in ray.nodes()
            if node["NodeID"] == own_node
        ]
        patience = {context.gcs_address: 0.0 if is_private else PATIENCE}
        patience |= dict.fromkeys(raylets, 0.0)
        self.is_cut, self._patience = False, patience
        self._checked = time.monotonic()
        # The time of each address's last answer. One that doesn't answer now isn't watched,
        # since Ray reached it all the same.
        self._answered: dict[str, float] = {}
        for address in patience:
            with suppress(OSError):
                _check_reachable(address)
                self._answered[address] = self._checked

    def check(self) -> None:
        """Tries each address, once a second at most.

        Raises:
            RunError: if Ray doesn't answer any more.
        """
        now = time.monotonic()
        if now - self._checked < 1.0:
            return
        self._checked = now
        for address, answered in self._answered.items():
            try:
                _check_reachable(address)
                self._answered[address] = now
            except OSError as error:
                if now - answered >= self._patience[address]:
                    self.is_cut = True
                    raise RunError(
                        f"Ray has died (no answer at {address}: {error.strerror or error}); "
                        "nothing finished is lost: resume this run, with a Ray that runs"
                    ) from error


def _has_shared_memory() -> bool:
    """Tells whether Ray's object store fits into /dev/shm; else it lies in the folder."""
    try:
        return shutil.disk_usage("/dev/shm").free >= STORE  # noqa: S108
    except OSError:
        return False


def _room() -> int:
    """Returns the bytes that must be free where a private Ray keeps its files."""
    return ROOM if _has_shared_memory() else ROOM + STORE


def _check_reachable(address: str) -> None:
    """Tries to connect to `host:port`, since Ray itself would try for minutes.

    Raises:
        OSError: if nothing answers there.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
