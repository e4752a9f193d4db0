"""Executors: they drive a study with an evaluator, in this process or in Ray's actors."""

from __future__ import annotations

from typing import Protocol, Self

from nas.executors.settings import ComputeSettings
from nas.study.interfaces import Evaluator, OnEvent
from nas.study.study import Study


class Executor(Protocol):
    """Asks, evaluates and tells until the study has no more trials.

    As a context it keeps between runs what it has started, such as Ray.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, study: Study, evaluator: Evaluator, on_event: OnEvent | None = None) -> None:
        """Runs every trial that the study gives.

        Raises:
            SearchInterrupted: on Ctrl-C or SIGTERM; trials in flight will be proposed again.
            NasError: if the evaluator can't work at all, or too many trials fail.
        """


def make_executor(compute: ComputeSettings) -> Executor:
    """Builds the executor that the settings name; Ray is loaded only for its own."""
    if compute.executor == "inline":
        from nas.executors.inline import InlineExecutor

        return InlineExecutor(compute)
    from nas.executors.ray.executor import RayExecutor

    return RayExecutor(compute)


__all__ = ["ComputeSettings", "Executor", "make_executor"]
