"""The executor that runs trials in Ray's long-lived actors, on one machine or a cluster.

An actor keeps its evaluator, and what that has opened, from trial to trial. An actor that dies or
is over its time is replaced, and the study decides whether its trial is tried again.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from nas.errors import RunError, one_line
from nas.executors.interrupt import interruptible
from nas.executors.ray.actor import EvaluatorRefusal, Packed, Worker
from nas.executors.ray.cluster import Lifeline, cause, running_ray
from nas.executors.settings import ComputeSettings
from nas.executors.worker import classify, pinned_threads
from nas.import_path import Program
from nas.study.failures import Failure, FailureKind
from nas.study.interfaces import Evaluator, Event, OnEvent
from nas.study.study import Study
from nas.study.trial import Outcome, Trial

log = logging.getLogger(__name__)

START_SECONDS = 300.0
"""Seconds for which no worker at all may be ready; one without room waits while others work."""
STARTS = 3
"""Workers in a row that die while they start, after which the search gives up."""


class RayExecutor:
    """Runs a study's trials in Ray's actors.

    As a context it keeps Ray between runs; without, each run starts and stops it. A Ray that is
    running already in this process is used and left running.

    Example:
        >>> with RayExecutor(ComputeSettings(workers=8, gpus_per_worker=1)) as executor:
        ...     executor.run(study, evaluator)
    """

    def __init__(self, compute: ComputeSettings | None = None) -> None:
        self._compute = compute or ComputeSettings()
        self._open: ExitStack | None = None
        self._ray: Any = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Ray's processes inherit the environment as it is when they are started.
            stack.enter_context(pinned_threads(self._compute.threads))
            self._ray = stack.enter_context(running_ray(self._compute))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def run(self, study: Study, evaluator: Evaluator, on_event: OnEvent | None = None) -> None:
        """Runs every trial that the study gives; see `nas.executors.Executor.run`."""
        if self._open is None:
            with self:
                return self.run(study, evaluator, on_event)
        pool = _ActorPool(
            self._ray, self._compute, study, evaluator, on_event or (lambda event: None)
        )
        # Inside, because Ray sets signal handlers of its own when it starts.
        with interruptible(study):
            try:
                pool.drive()
            finally:
                pool.close()
        return None


@dataclass
class _Slot:
    """One worker: starting while `starting` is set, busy while `trial` is set, otherwise free.

    Attributes:
        actor: Ray's handle of it.
        starting: Ray's reference to the answer of `ready`, until it has come.
        since: When its start or its trial began, by the monotonic clock.
        trial: The trial that it runs.
        step: Ray's reference to the trial's next report.
    """

    actor: Any
    starting: Any
    since: float
    trial: Trial | None = None
    step: Any = None


class _ActorPool:
    """The workers of one run, and the loop that places trials on them and receives reports.

    All calls of the study are made here, in one thread, so its order of events is a total one.
    """

    def __init__(
        self,
        ray: Any,
        compute: ComputeSettings,
        study: Study,
        evaluator: Evaluator,
        notify: OnEvent,
    ) -> None:
        self._ray, self._compute, self._study, self._notify = ray, compute, study, notify
        self._deferred: Trial | None = None  # proposed, waits until it has its device alone
        self._dead_starts = 0
        self._last_up = time.monotonic()  # when a worker was ready or at work
        self._warns_of_room = True  # once
        self._lifeline = Lifeline(ray, is_private=compute.address is None)
        kind = ray.remote(Worker)
        self._kind = kind.options(num_cpus=1, num_gpus=compute.gpus, max_restarts=0)
        try:
            self._evaluator, self._program = ray.put(evaluator), Program.running()
        except Exception as error:
            reason = one_line(error, 200)
            raise RunError(f"the evaluator can't be sent to a worker: {reason}") from error
        self._slots = [self._start_worker() for _ in range(compute.workers)]

    def drive(self) -> None:
        """Runs trials until the study gives no more."""
        while not self._study.end_if_late():  # what still runs then ends with its worker
            self._lifeline.check()
            self._place_trials()
            if any(slot.trial for slot in self._slots):
                self._advance()
            # Nothing runs. `idle_seconds` is how long to wait for a trial that is to be tried
            # again; None says that there will be no more.
            elif self._deferred is None and (wait := self._study.idle_seconds()) is None:
                # While all workers start, nobody has asked the study yet, and nothing is over.
                if self._has_ready_worker():
                    return
                self._advance()
            elif any(slot.starting for slot in self._slots):
                self._advance()
            else:
                # A deferred trial is placed at once now, since no worker is busy any more.
                time.sleep(min(wait or 0.0, 1.0) if self._deferred is None else 0.0)

    def close(self) -> None:
        """Ends the workers; where Ray has died, they end by themselves."""
        for slot in [] if self._lifeline.is_cut else self._slots:
            self._ray.kill(slot.actor)

    # Placement

    def _has_ready_worker(self) -> bool:
        """Tells whether a worker has started, so that the study was asked for a trial."""
        return any(slot.starting is None for slot in self._slots)

    def _place_trials(self) -> None:
        """Asks the study for a trial for each free worker.

        A trial that is `alone` shares its device with no other. If workers are busy, it is deferred
        and placed first once they are free; until then no other trial is begun, or it might
        wait for ever.
        """
        for slot in self._slots:
            if slot.starting is not None or slot.trial is not None:
                continue
            busy = [other.trial for other in self._slots if other.trial is not None]
            if any(self._needs_device_alone(trial) for trial in busy):
                return
            trial = self._deferred or self._study.ask()
            if trial is None:
                return
            self._deferred = trial if busy and self._needs_device_alone(trial) else None
            if self._deferred is not None:
                return
            self._send(slot, trial)

    def _needs_device_alone(self, trial: Trial) -> bool:
        """Tells whether no other trial may run beside it; a whole GPU isn't shared anyway."""
        return trial.alone and self._compute.gpus < 1

    def _send(self, slot: _Slot, trial: Trial) -> None:
        """Starts a trial on a free worker."""
        candidate = trial.candidate
        if hasattr(candidate, "to_json") and hasattr(type(candidate), "from_json"):
            candidate = Packed(type(candidate), candidate.to_json())
        metric = self._study.objective.maximize
        slot.step = slot.actor.begin.remote(
            candidate, trial.seed, trial.repeat, trial.length, metric
        )
        slot.trial, slot.since = trial, time.monotonic()
        self._notify(Event("asked", trial))

    # Reports and recovery

    def _advance(self) -> None:
        """Receives the next report of any worker, and replaces workers that are over their time."""
        slots = {slot.starting or slot.step: slot for slot in self._slots if _awaited(slot)}
        # At most a second, so that `drive` checks the budget and Ray in between.
        limit = min(1.0, *(self._seconds_left(slot) for slot in self._slots))
        if slots:
            ready, _ = self._ray.wait(list(slots), num_returns=1, timeout=max(0.0, limit))
            for reference in ready:
                self._receive(slots[reference])
        # After the reports: a trial whose last one has just come isn't over its time.
        for slot in self._slots:
            if self._seconds_left(slot) <= 0:
                reason = f"over {self._compute.timeout:g} s (compute.trial_timeout)"
                self._replace(slot, Failure(FailureKind.TIMEOUT, reason))
        self._check_starts()

    def _seconds_left(self, slot: _Slot) -> float:
        """Returns the seconds that a worker has left for its trial; an hour without a limit."""
        limit = None if slot.trial is None else self._compute.timeout
        return 3600.0 if limit is None else slot.since + limit - time.monotonic()

    def _check_starts(self) -> None:
        """Goes on with the workers that found room, and gives up only where none does.

        What waits for room starts when a machine joins the cluster.
        """
        now, compute = time.monotonic(), self._compute
        if any(slot.starting is None for slot in self._slots):
            self._last_up = now
        if now - self._last_up > START_SECONDS:
            raise RunError(
                f"no worker started in {START_SECONDS:.0f} s; {compute.workers} workers with "
                f"{compute.gpus:g} GPUs each were asked for: lower compute.workers or "
                "compute.gpus_per_worker"
            )
        late = [s for s in self._slots if s.starting and now - s.since > START_SECONDS]
        if late and self._warns_of_room:
            self._warns_of_room = False
            log.warning(
                "%d of %d workers found no room in %.0f s; the search goes on with the others",
                *(len(late), len(self._slots), START_SECONDS),
            )

    def _receive(self, slot: _Slot) -> None:
        """Takes a worker's answer: that it is ready, a report, an outcome, or its death.

        Raises:
            RunError: if the evaluator can't work at all, or can't be read in a worker.
        """
        exceptions = self._ray.exceptions
        try:
            report = self._ray.get(slot.starting or slot.step)
        except exceptions.RayTaskError as error:
            report = Outcome(failure=classify(error.cause))
        except exceptions.RayError as error:
            self._replace_dead(slot, error)
            return
        if isinstance(report, EvaluatorRefusal):
            raise RunError(f"{self._node_name(report.node)}{report.message}")
        if slot.starting is not None:
            if isinstance(report, Outcome):  # the evaluator couldn't be read in the worker
                message = report.failure.message if report.failure else ""
                raise RunError(f"a worker can't start: {message}")
            slot.starting, self._dead_starts = None, 0
        elif isinstance(report, Outcome):
            self._tell(slot, report)
        elif slot.trial is not None:
            self._notify(Event("rung", slot.trial, report))
            slot.step = slot.actor.go_on.remote(self._study.report(slot.trial, report))

    def _tell(self, slot: _Slot, outcome: Outcome) -> None:
        """Tells the study how a worker's trial ended, if it has one, and frees the worker."""
        trial, slot.trial, slot.step = slot.trial, None, None
        if trial is not None:
            is_completed = self._study.tell(trial, outcome)
            completed = Event("completed", trial, outcome.metrics, outcome.failure, outcome.stopped)
            retry = Event("retry", trial, failure=outcome.failure)
            self._notify(completed if is_completed else retry)

    def _replace_dead(self, slot: _Slot, error: BaseException) -> None:
        """Replaces a worker that died.

        Raises:
            RunError: if several in a row died while they started, so the next would, too.
        """
        reason = cause(error)
        # A node that went away says nothing about the program, however often it happens.
        if slot.starting is not None and "its node has died" not in reason:
            self._dead_starts += 1
            if self._dead_starts >= STARTS:
                raise RunError(
                    f"{STARTS} workers in a row died while they started: {one_line(reason, 300)}"
                )
        # A worker killed for its memory is known by the type of Ray's error, or only by its text.
        is_memory = "OutOfMemory" in type(error).__name__ or "low on memory" in reason
        kind = FailureKind.OUT_OF_MEMORY if is_memory else FailureKind.LOST
        self._replace(slot, Failure(kind, f"the worker died: {one_line(reason, 200)}"))

    def _replace(self, slot: _Slot, failure: Failure) -> None:
        """Ends a worker, starts another in its place, and tells the study of the failure."""
        self._ray.kill(slot.actor)
        self._slots[self._slots.index(slot)] = self._start_worker()
        self._tell(slot, Outcome(failure=failure, seconds=time.monotonic() - slot.since))

    def _node_name(self, node_id: str) -> str:
        """Returns the start of a message on a node, if there are several nodes."""
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        if len(nodes) < 2 or node_id not in nodes:
            return ""
        return "on {NodeManagerHostname} ({NodeManagerAddress}): ".format_map(nodes[node_id])

    def _start_worker(self) -> _Slot:
        """Starts an actor, and has it read the evaluator; doesn't wait for either."""
        actor = self._kind.remote([self._evaluator], self._compute.threads, self._program)
        return _Slot(actor, actor.ready.remote(), time.monotonic())


def _awaited(slot: _Slot) -> bool:
    """Tells whether a worker owes an answer."""
    return slot.starting is not None or slot.trial is not None
