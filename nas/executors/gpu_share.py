"""How many trials share a GPU: as many as fit beside each other, by what one was seen to take.

This resolves `compute.gpus_per_worker: auto` before a search begins.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nas.environment import cores, gpus
from nas.errors import NasError, RunError, one_line
from nas.executors.ray.cluster import running_ray
from nas.executors.settings import ComputeSettings
from nas.executors.worker import evaluate, pinned_threads, prepare
from nas.space import Space
from nas.study.failures import FailureKind
from nas.study.interfaces import Evaluator
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs
from nas.study.trial import Outcome

log = logging.getLogger(__name__)

MARGIN = 20
"""Percent of memory that a trial may take beyond the one that was measured."""
DRAWS = 100
"""Candidates of which the largest is measured."""
MEASURE_SECONDS = 1800.0
"""How long the measuring trial may wait for a whole GPU and run."""


@dataclass(frozen=True)
class Need:
    """What one trial takes of a GPU's memory, in bytes.

    Attributes:
        peak: at most, with CUDA's own part; 0 if it doesn't use the GPU.
        total: all that the GPU has.
    """

    peak: int
    total: int

    @property
    def trials(self) -> int:
        """How many fit beside each other, with the margin; one at least."""
        return max(1, 100 * self.total // ((100 + MARGIN) * self.peak))


def fit_to_gpus(
    compute: ComputeSettings, evaluator: Evaluator, candidate: Callable[[], Any]
) -> ComputeSettings:
    """Puts numbers in the place of `gpus_per_worker: auto`.

    An evaluator says by its attribute `device` ("cuda") that it uses a GPU. If there is one, the
    candidate's trial is run on a whole one up to its first report, and its memory is measured.

    Args:
        compute: The settings, which may have `gpus_per_worker: auto`.
        evaluator: What scores candidates.
        candidate: Makes the candidate to measure, once it is needed.

    Returns:
        The settings, with 0 GPUs if there is none, and with as many workers as fit unless they
        were set.

    Raises:
        RunError: the measuring trial failed, or no GPU became free for it.
    """
    if compute.gpus_per_worker != "auto":
        return compute
    without = compute.model_copy(update={"gpus_per_worker": 0.0})
    joins = compute.executor == "ray" and compute.address is not None
    wants = str(getattr(evaluator, "device", "cpu")).startswith("cuda")
    if not wants or not (joins or gpus()):
        return without
    if compute.executor == "inline":
        return compute.model_copy(update={"gpus_per_worker": 1.0}) if _has_cuda() else without
    with pinned_threads(compute.threads), running_ray(compute) as ray:
        resources = ray.cluster_resources()
        count = int(resources.get("GPU", 0))
        if count == 0:
            return without
        need = _measured(ray, compute, evaluator, candidate())
    if need.peak == 0:
        log.warning("torch can't use the GPU: trials run on the processor (see nas doctor)")
        return without
    return shared(compute, need, count, int(resources.get("CPU", 1)) if joins else cores())


def shared(compute: ComputeSettings, need: Need, gpus: int, cores: int) -> ComputeSettings:
    """Shares GPUs among workers.

    Each worker needs its threads' cores too. Workers that were set are spread over all GPUs; what
    doesn't fit is left out, but on a cluster, where a machine may join.

    Args:
        compute: The settings, as they were given.
        need: What one trial needs; it uses the GPU.
        gpus: How many all machines have together.
        cores: How many all machines have together.

    Example:
        >>> need = Need(peak=5 * 2**30, total=24 * 2**30)
        >>> shared(ComputeSettings(), need, gpus=2, cores=32).workers
        8
    """
    each = min(need.trials, max(1, cores // (compute.threads * gpus)))
    workers = each * gpus
    if "workers" in compute.model_fields_set:
        workers = compute.workers if compute.address else min(compute.workers, workers)
        each = min(each, math.ceil(workers / gpus))
    # Ray counts in ten-thousandths, and would round 1/6 up.
    share = math.floor(10_000 / each) / 10_000
    return compute.model_copy(update={"workers": workers, "gpus_per_worker": share})


def largest(space: Space, objective: ObjectiveSettings, costs: Costs | None, seed: int) -> Any:
    """Draws candidates, and returns the one within the limits that has the most multiply-adds."""
    rng = random.Random(seed)

    def rank(candidate: Any) -> tuple[bool, float]:
        cost = costs(candidate) if costs is not None else {}
        return not objective.violations(cost), cost.get("macs", 0.0)

    return max((space.sample(rng) for _ in range(DRAWS)), key=rank)


def needed(evaluator: Evaluator, candidate: Any, threads: int) -> Need | str:
    """Runs a trial up to its first report, in a process that nothing else runs in.

    Returns:
        What it took; or why it failed. Without CUDA it isn't run, and takes nothing.
    """
    if not _has_cuda():
        return Need(0, 0)
    import torch

    try:
        prepare(evaluator)
        with closing(evaluate(evaluator, candidate, 0, threads=threads)) as reports:
            report = next(reports)
    except NasError as error:
        return str(error)
    free, total = torch.cuda.mem_get_info()
    if isinstance(report, Outcome) and report.failure is not None:
        if report.failure.kind is not FailureKind.OUT_OF_MEMORY:
            return report.failure.message
        return Need(total, total)
    peak = torch.cuda.max_memory_reserved()
    outside = total - free - torch.cuda.memory_reserved()  # CUDA's context, and other processes
    return Need(peak + max(0, outside) if peak else 0, total)


def _measured(
    ray: ModuleType, compute: ComputeSettings, evaluator: Evaluator, candidate: Any
) -> Need:
    # One call, so that the process ends and gives back what it holds of the GPU.
    worker = ray.remote(num_cpus=1, num_gpus=1, max_retries=0, max_calls=1)(needed)
    setting = "compute.gpus_per_worker: auto"
    try:
        reference = worker.remote(evaluator, candidate, compute.threads)
        answer = ray.get(reference, timeout=MEASURE_SECONDS)
    except Exception as error:
        is_late = isinstance(error, ray.exceptions.GetTimeoutError)
        reason = "no whole GPU was free" if is_late else one_line(error, 200)
        raise RunError(
            f"{setting}: a trial can't be measured ({reason}); write a number"
        ) from error
    if isinstance(answer, Need):
        return answer
    raise RunError(f"{setting}: the trial to measure failed ({answer}); mend it, or write a number")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
