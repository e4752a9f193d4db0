"""Sharing of GPUs: as many trials run on one as fit into its memory, by a measurement of one trial.

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
"""Percent of memory that a trial may take beyond what was measured."""
DRAWS = 100
"""Candidates that are drawn; the largest of them is measured."""
MEASURE_SECONDS = 1800.0
"""Seconds in which the measuring trial must have a whole GPU and reach its first report."""


@dataclass(frozen=True)
class Need:
    """The memory that one trial needs of a GPU, in bytes.

    Attributes:
        peak: The most at any time, with CUDA's context; 0 if the trial doesn't use the GPU.
        total: All that the GPU has.
    """

    peak: int
    total: int

    @property
    def trials(self) -> int:
        """The number of trials that fit beside each other, with the margin; at least one."""
        return max(1, 100 * self.total // ((100 + MARGIN) * self.peak))


def fit_to_gpus(
    compute: ComputeSettings, evaluator: Evaluator, candidate: Callable[[], Any]
) -> ComputeSettings:
    """Puts numbers in the place of `gpus_per_worker: auto`.

    An evaluator whose attribute `device` is "cuda" uses a GPU. If there is one, a trial of the
    candidate runs alone on a GPU up to its first report, and its memory is measured.

    Args:
        compute: The settings, which may have `gpus_per_worker: auto`.
        evaluator: What scores candidates.
        candidate: Makes the candidate to measure, once it is needed.

    Returns:
        The settings, with 0 GPUs if there is none, and with as many workers as fit unless they
        were set.

    Raises:
        RunError: if the measuring trial failed, or no GPU became free for it.
    """
    if compute.gpus_per_worker != "auto":
        return compute
    on_processor = compute.model_copy(update={"gpus_per_worker": 0.0})
    is_cluster = compute.executor == "ray" and compute.address is not None
    uses_gpu = str(getattr(evaluator, "device", "cpu")).startswith("cuda")
    if not uses_gpu or not (is_cluster or gpus()):
        return on_processor
    if compute.executor == "inline":
        return compute.model_copy(update={"gpus_per_worker": 1.0}) if _has_cuda() else on_processor
    # Ray counts the GPUs, since a cluster's may be on other machines than this one.
    with pinned_threads(compute.threads), running_ray(compute) as ray:
        resources = ray.cluster_resources()
        gpu_count = int(resources.get("GPU", 0))
        if gpu_count == 0:
            return on_processor
        need = _measure_on_gpu(ray, compute, evaluator, candidate())
    if need.peak == 0:
        log.warning("torch can't use the GPU: trials run on the processor (see nas doctor)")
        return on_processor
    core_count = int(resources.get("CPU", 1)) if is_cluster else cores()
    return share_gpus(compute, need, gpu_count, core_count)


def share_gpus(compute: ComputeSettings, need: Need, gpus: int, cores: int) -> ComputeSettings:
    """Shares GPUs among workers.

    Each worker needs the cores of its threads too. Workers that the settings name are spread over
    all GPUs; those that don't fit are left out, except on a cluster, where a machine may join.

    Args:
        compute: The settings, with `gpus_per_worker: auto`.
        need: The memory that one trial needs; its peak isn't 0.
        gpus: The number of GPUs of all machines together.
        cores: The number of cores of all machines together.

    Returns:
        The settings with a number of workers and each worker's share of a GPU.

    Example:
        >>> need = Need(peak=5 * 2**30, total=24 * 2**30)
        >>> share_gpus(ComputeSettings(), need, gpus=2, cores=32).workers
        8
    """
    per_gpu = min(need.trials, max(1, cores // (compute.threads * gpus)))
    workers = per_gpu * gpus
    if "workers" in compute.model_fields_set:
        workers = compute.workers if compute.address else min(compute.workers, workers)
        per_gpu = min(per_gpu, math.ceil(workers / gpus))
    # Ray counts GPUs in ten-thousandths and would round 1/6 up, and then six don't fit into one.
    share = math.floor(10_000 / per_gpu) / 10_000
    return compute.model_copy(update={"workers": workers, "gpus_per_worker": share})


def largest_candidate(
    space: Space, objective: ObjectiveSettings, costs: Costs | None, seed: int
) -> Any:
    """Draws candidates, and returns the one within the limits that has the most multiply-adds.

    Args:
        space: Where candidates are drawn from.
        objective: Its limits decide; if no candidate keeps them, the largest of all is returned.
        costs: Computes a candidate's costs by name; without them any candidate may be returned.
        seed: Of the draws.
    """
    rng = random.Random(seed)

    def rank(candidate: Any) -> tuple[bool, float]:
        cost = costs(candidate) if costs is not None else {}
        return not objective.violations(cost), cost.get("macs", 0.0)

    return max((space.sample(rng) for _ in range(DRAWS)), key=rank)


def measure(evaluator: Evaluator, candidate: Any, threads: int) -> Need | str:
    """Runs a trial up to its first report and measures its memory; needs a process of its own.

    Args:
        evaluator: What scores candidates.
        candidate: What is scored.
        threads: Of the numeric libraries.

    Returns:
        The memory that it needed, or a message on why it failed. Without CUDA it isn't run, and
        needs none.
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
        return Need(total, total)  # it had all, so no second one fits beside it
    # CUDA's context takes memory outside of torch's allocator, some hundred MB for each process.
    # What other processes take counts as well, so that the share errs on the safe side.
    peak = torch.cuda.max_memory_reserved()
    outside = total - free - torch.cuda.memory_reserved()
    return Need(peak + max(0, outside) if peak else 0, total)


def _measure_on_gpu(
    ray: ModuleType, compute: ComputeSettings, evaluator: Evaluator, candidate: Any
) -> Need:
    """Runs `measure` on a whole GPU, where Ray has one.

    Raises:
        RunError: if the trial failed, or no GPU became free for it.
    """
    # A process of one call (`max_calls`): when it ends, the GPU's memory is free again.
    worker = ray.remote(num_cpus=1, num_gpus=1, max_retries=0, max_calls=1)(measure)
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
