"""Several processes that train one model together, started by Ray Train's `TorchTrainer`.

Ray places the processes, on one machine or a cluster, and joins them to a process group of torch.
The caller decides what they do there. The training writes its own checkpoints; Train keeps none.
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
"""Sends a message to the process that started the workers; only the first worker's arrive."""
Work = Callable[[int, int, Any, Tell], None]
"""A worker's function of its rank, the number of workers, torch's device, and a `Tell`."""

START_SECONDS = "300"
"""Seconds that workers may take to start; Ray's own 60 are too few for torch on a network disk."""
TELL_SECONDS = 0.3
"""Seconds between two calls that send messages; those in between are sent together."""


def train_together(
    work: Work, settings: MachineSettings, tell: Tell, *, gpus: float, threads: int | None = None
) -> None:
    """Runs `work` in `settings.workers` processes, and returns when all are done.

    Args:
        work: What each worker does; it can be pickled.
        settings: The number of workers, and the machines.
        tell: Called in this thread with each message of the first worker.
        gpus: Of each worker; NCCL joins the processes, or gloo if there are none.
        threads: Of each worker's numeric libraries; None shares this machine's cores.

    Raises:
        NasError: A worker's own error, or one that says that a worker was lost or found no room.
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
        errors: list[BaseException] = []
        # Not in the main thread, where Train would take Ctrl-C for itself.
        fit = threading.Thread(target=_fit, args=(trainer, errors), daemon=True)
        fit.start()
        while fit.is_alive():
            lifeline.check()
            _hear(queue, tell, seconds=1.0)
        # The workers have ended, and their last messages may still be in the queue.
        while _hear(queue, tell, seconds=0.0):
            pass
        if errors:
            raise _explained(errors[0]) from None


def _trainer(work: Work, compute: ComputeSettings, gpus: float, folder: Path) -> tuple[Any, Any]:
    """Returns the queue of the workers' messages, and the trainer."""
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
            # No retries: the user starts it again, and it goes on from its last checkpoint.
            failure_config=FailureConfig(  # type: ignore[call-arg]
                max_failures=0, controller_failure_limit=0
            ),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    return queue, trainer


def _worker(config: Mapping[str, Any]) -> None:
    """Does the work in each process; Train calls it."""
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


def _fit(trainer: Any, errors: list[BaseException]) -> None:
    """Runs the trainer in a thread, and leaves its error in a list for the main one."""
    try:
        trainer.fit()
    except BaseException as error:
        errors.append(error)


def _hear(queue: Any, tell: Tell, seconds: float) -> bool:
    """Passes on the messages that come within `seconds`; returns whether any came."""
    from ray.util.queue import Empty

    try:
        messages = queue.get(timeout=seconds) if seconds else queue.get_nowait()
    except Empty:
        return False
    for message in messages:
        tell(message)
    return True


def _explained(error: BaseException) -> NasError:
    """Returns a worker's own error if a user can act on it, else one on the loss of the worker."""
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
    """Refuses more workers than Ray has room for: they would wait for ever.

    Raises:
        ConfigError: if there are too few cores or GPUs.
    """
    resources = ray.cluster_resources()
    for name, count in [("CPU", compute.workers), ("GPU", compute.workers * gpus)]:
        if count > resources.get(name, 0):
            raise ConfigError(
                f"compute.workers {compute.workers} need {count:g} {name}s, and Ray has "
                f"{resources.get(name, 0):g}; lower it, or set compute.gpus_per_worker=0"
            )
