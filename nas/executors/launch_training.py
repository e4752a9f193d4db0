"""Several processes that train one model together, started by Ray Train's `TorchTrainer`.

Ray places the processes, on one machine or a cluster, and joins them to a process group of torch.
What they do there is the caller's. Checkpoints are the training's own; Train keeps none.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from nas.environment import cores
from nas.errors import ConfigError, NasError, RunError, one_line
from nas.executors.ray.cluster import Lifeline, running_ray
from nas.executors.settings import ComputeSettings, MachineSettings
from nas.executors.worker import pinned_threads
from nas.temporary import temporary_folder

Tell = Callable[[Any], None]
"""Takes a message to whoever started the workers; heard from the first worker alone."""
Work = Callable[[int, int, Any, Tell], None]
"""What a worker does: its rank, how many there are, torch's device, and where to tell of it."""

START_SECONDS = "300"
"""How long workers may take to start; Ray's own 60 are few where torch is loaded from a network."""
TELL_SECONDS = 0.3
"""Between messages, which are sent together."""


def train_together(
    work: Work, settings: MachineSettings, tell: Tell, *, gpus: float, threads: int | None = None
) -> None:
    """Runs `work` in `settings.workers` processes, and returns when all are done.

    Args:
        work: Can be pickled.
        settings: How many workers, and on which machines.
        tell: Is given each message of the first worker, in this thread.
        gpus: of each worker; without any, gloo joins the processes, else NCCL.
        threads: of each worker's numeric libraries; None shares this machine's cores.

    Raises:
        NasError: a worker's own error, or that one was lost or found no room.
    """
    threads = threads or max(1, cores() // settings.workers)
    compute = ComputeSettings(**settings.model_dump(), threads=threads)
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_SECONDS)
    # Ray's processes inherit the environment as it is when they are started.
    with pinned_threads(threads), running_ray(compute) as ray, temporary_folder("train-") as folder:
        _check_room(ray, compute, gpus)
        lifeline = Lifeline(ray, is_private=compute.address is None)
        queue, trainer = _trainer(work, compute, gpus, folder)
        failed: list[BaseException] = []
        # Not in the main thread, where Train would take Ctrl-C for itself.
        fit = threading.Thread(target=_fit, args=(trainer, failed), daemon=True)
        fit.start()
        while fit.is_alive():
            lifeline.check()
            _hear(queue, tell, seconds=1.0)
        while _hear(queue, tell, seconds=0.0):
            pass
        if failed:
            raise _explained(failed[0]) from None


def _trainer(work: Work, compute: ComputeSettings, gpus: float, folder: Path) -> tuple[Any, Any]:
    """The queue that workers tell through, and the trainer."""
    try:
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise ConfigError(
            f"compute.workers {compute.workers}: Ray Train can't be imported ({error}); what it "
            "needs comes with pip install 'spinenas[train]'"
        ) from None
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    resources = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"work": work, "queue": queue},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=compute.workers, use_gpu=gpus > 0, resources_per_worker=resources
        ),
        # Their types are those of Train's first version, which had other settings.
        run_config=RunConfig(  # type: ignore[call-arg]
            name="training",
            storage_path=str(folder),
            failure_config=FailureConfig(  # type: ignore[call-arg]
                max_failures=0, controller_failure_limit=0
            ),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    return queue, trainer


def _worker(config: Mapping[str, Any]) -> None:
    """Runs in each process."""
    import ray.train
    from ray.train.torch import get_device

    context = ray.train.get_context()
    rank, count = context.get_world_rank(), context.get_world_size()
    sender = _Sender(config["queue"] if rank == 0 else None)
    config["work"](rank, count, get_device(), sender.send)
    sender.flush()


class _Sender:
    """Sends messages together, because each call takes a millisecond."""

    def __init__(self, queue: Any) -> None:
        self._queue, self._waiting, self._sent = queue, list[Any](), 0.0

    def send(self, message: Any) -> None:
        self._waiting.append(message)
        if time.monotonic() - self._sent >= TELL_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._queue is not None and self._waiting:
            self._queue.put(self._waiting)
        self._waiting, self._sent = [], time.monotonic()


def _fit(trainer: Any, failed: list[BaseException]) -> None:
    try:
        trainer.fit()
    except BaseException as error:
        failed.append(error)


def _hear(queue: Any, tell: Tell, seconds: float) -> bool:
    """Passes on what comes within so many seconds; returns whether anything came."""
    from ray.util.queue import Empty

    try:
        messages = queue.get(timeout=seconds) if seconds else queue.get_nowait()
    except Empty:
        return False
    for message in messages:
        tell(message)
    return True


def _explained(error: BaseException) -> NasError:
    """A worker's own error, if it is for the user; else what became of the worker."""
    failures = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if isinstance(failure, NasError):
            return failure
    first = next(iter(failures.values()), error)
    reason = one_line(f"{type(first).__name__}: {first}", 300)
    return RunError(
        f"a worker of the training was lost ({reason}); type this again to go on from the last "
        "checkpoint"
    )


def _check_room(ray: ModuleType, compute: ComputeSettings, gpus: float) -> None:
    """Refuses at once what would wait for ever."""
    has = ray.cluster_resources()
    for name, count in [("CPU", compute.workers), ("GPU", compute.workers * gpus)]:
        if count > has.get(name, 0):
            raise ConfigError(
                f"compute.workers {compute.workers} need {count:g} {name}s, and Ray has "
                f"{has.get(name, 0):g}; lower it, or set compute.gpus_per_worker=0"
            )
