"""Evaluation of one trial: the same code in this process and in an actor, so bits are equal."""

from __future__ import annotations

import inspect
import os
import platform
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from nas.errors import GenomeError, NasError, one_line
from nas.study.failures import Failure, FailureKind
from nas.study.interfaces import Evaluator
from nas.study.trial import Metrics, Outcome

_LIBRARIES = ("torch", "torchvision", "numpy")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def evaluate(
    evaluator: Evaluator,
    candidate: Any,
    seed: int,
    *,
    length: int = 1,
    repeat: int = 0,
    metric: str = "score",
    threads: int = 1,
    timeout: float | None = None,
) -> Generator[Metrics | Outcome, bool | None]:
    """Runs one attempt; yields the metrics of each report and, last, the outcome.

    The caller may send False back for a report, and then the attempt ends there, stopped early.

    Args:
        evaluator: What scores candidates.
        candidate: What is scored.
        seed: Of the trial.
        length: Factor on the length of a trial, passed on if it accepts `length`.
        repeat: Number of the candidate's evaluation, from 0, passed on if it accepts `repeat`.
        metric: The name of a bare number that the evaluator returns.
        threads: Of the numeric libraries.
        timeout: Seconds, checked between reports.

    Raises:
        NasError: if the evaluator can't work at all (its data or settings are wrong).
    """
    start = time.monotonic()
    curve: list[Metrics] = []
    failure, metrics, stopped = None, dict[str, float](), False
    try:
        pin_loaded_torch(threads)
        options = {
            name: value
            for name, value, default in (("length", length, 1), ("repeat", repeat, 0))
            if value != default and _accepts(evaluator, name)
        }
        result = evaluator(candidate, seed, **options)
        if isinstance(result, Iterator):
            for report in result:
                curve.append(_metrics(report, metric))
                stopped = (yield curve[-1]) is False  # None goes on: nobody has decided
                if stopped:
                    break
                if timeout is not None and time.monotonic() - start > timeout:
                    failure = Failure(FailureKind.TIMEOUT, f"over {timeout:g} s at a report")
                    break
            _close(result)
            if not curve:
                raise TypeError("the evaluator yielded nothing; metrics are needed once at least")
            metrics = dict(curve[-1])
        else:
            metrics = _metrics(result, metric)
    except GeneratorExit:  # the caller has closed this generator, and wants no outcome
        raise
    except Exception as error:
        # A GenomeError is this candidate's; any other NasError would meet every candidate alike.
        if isinstance(error, NasError) and not isinstance(error, GenomeError):
            raise
        failure, metrics = classify(error), {}
    loaded = tuple(name for name in _LIBRARIES if name in sys.modules)
    yield Outcome(
        metrics=metrics,
        curve=tuple(curve),
        failure=failure,
        stopped=stopped,
        seconds=time.monotonic() - start,
        numerics=getattr(evaluator, "numerics", None) or _numerics(threads, loaded),
        versions=_versions(loaded),
    )


def classify(error: BaseException) -> Failure:
    """Returns an evaluator's exception as a failure: its kind and a message with its place."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = one_line(error)
    message = f"{type(error).__name__}: {text[:200]}{_place(error)}"
    # By name, so that neither torch nor ray need be loaded; torch's allocator on the CPU raises
    # a plain RuntimeError.
    if (
        names & {"MemoryError", "OutOfMemoryError"}
        or "out of memory" in text.lower()
        or "DefaultCPUAllocator" in text
    ):
        return Failure(FailureKind.OUT_OF_MEMORY, message)
    if isinstance(error, GenomeError):
        return Failure(FailureKind.INVALID, text)
    if isinstance(error, FloatingPointError):
        return Failure(FailureKind.NOT_FINITE, message)
    return Failure(FailureKind.ERROR, message)


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Pins the numeric libraries' threads, those loaded later too, and restores them afterwards."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    torch = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch else None
    os.environ.update(thread_environment(threads))
    pin_loaded_torch(threads)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch and torch_before is not None:
            torch.set_num_threads(torch_before)


def thread_environment(threads: int) -> dict[str, str]:
    """Returns the variables that numeric libraries read when they are loaded."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def pin_loaded_torch(threads: int) -> None:
    """Sets torch's threads, if it is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def prepare(evaluator: Evaluator) -> None:
    """Lets an evaluator that has `prepare` open what it keeps between trials."""
    if hasattr(evaluator, "prepare"):
        evaluator.prepare()


def _metrics(result: Any, metric: str) -> dict[str, float]:
    """Returns a report as metrics by name; a bare number goes by the name `metric`."""
    if isinstance(result, Mapping):
        return {str(name): float(value) for name, value in result.items()}
    return {metric: float(result)}


def _close(result: Iterator[Any]) -> None:
    """Lets a generator that isn't finished run its `finally`."""
    if isinstance(result, Generator):
        result.close()


def _accepts(evaluator: Evaluator, name: str) -> bool:
    """Tells whether an evaluator can be called with an argument of this name."""
    parameters = inspect.signature(evaluator).parameters
    return name in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _place(error: BaseException) -> str:
    """Returns the file and line that raised an error, in brackets."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    return f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"


# The next two are cached: between trials, only the set of loaded libraries can change.


@lru_cache
def _numerics(threads: int, loaded: tuple[str, ...]) -> str:
    """Returns the numerics class of an evaluator that names none."""
    capability = "python"
    if "torch" in loaded:
        capability = sys.modules["torch"].backends.cpu.get_cpu_capability()
    return f"{platform.machine()}-{capability}-t{threads}".lower().replace(" ", "_")


@lru_cache
def _versions(loaded: tuple[str, ...]) -> Mapping[str, str]:
    """Returns the versions of Python and of the loaded libraries, by name."""
    versions = {name: str(getattr(sys.modules[name], "__version__", "unknown")) for name in loaded}
    return {"python": platform.python_version(), **versions}
