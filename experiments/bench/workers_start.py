"""How long a training in several processes takes to begin and to end, and on what.

    python experiments/bench/workers_start.py [--workers 2]

The work is empty but for the imports of a real one, so all of the time is a start's and an end's.
Wall time, so nothing else should run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nas.executors import launch_training
from nas.executors.settings import ComputeSettings, MachineSettings

Times = dict[str, float]


def work(began: float, rank: int, count: int, device: Any, tell: Callable[[Any], None]) -> None:
    """Tells when a worker is there, and when it could begin to train."""
    tell(("the first worker is there", time.time() - began))
    import nas.jobs.final_training  # noqa: F401

    tell(("it has imported the training", time.time() - began))


def measured(workers: int) -> Times:
    """Returns the seconds after which each step was done, in their order."""
    times: Times = {}
    began = time.time()
    real = launch_training.running_ray

    @contextmanager
    def running_ray(compute: ComputeSettings) -> Iterator[Any]:
        with real(compute) as ray:
            times["Ray runs"] = time.time() - began
            import ray.train.torch

            times["Ray Train is imported here"] = time.time() - began
            yield ray
            times["the workers have ended"] = time.time() - began

    def tell(message: tuple[str, float]) -> None:
        times[message[0]] = message[1]

    launch_training.running_ray = running_ray
    try:
        launch_training.train_together(
            partial(work, began), MachineSettings(workers=workers), tell, gpus=0, threads=1
        )
    finally:
        launch_training.running_ray = real
    times["Ray has ended"] = time.time() - began
    return times


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    before = 0.0
    for step, seconds in sorted(measured(parser.parse_args().workers).items(), key=lambda t: t[1]):
        print(f"{seconds:6.1f} s (+{seconds - before:4.1f}): {step}")
        before = seconds


if __name__ == "__main__":
    main()
