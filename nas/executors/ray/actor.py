"""The Ray actor that runs trials: it keeps an evaluator, and gives a trial's reports one by one."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError
from nas.executors.worker import (
    classify,
    evaluate,
    pin_loaded_torch,
    prepare,
    thread_environment,
)
from nas.import_path import Program
from nas.study.interfaces import Evaluator


@dataclass(frozen=True)
class EvaluatorRefusal:
    """A message, which a user can act on, that the evaluator can't work at all; and Ray's node."""

    message: str
    node: str


class Worker:
    """An actor that keeps an evaluator and runs one trial at a time."""

    def __init__(self, evaluator: list[Any], threads: int, program: Program) -> None:
        """Makes a worker that has no evaluator yet.

        Args:
            evaluator: Ray's reference to it, in a list, so that Ray doesn't unpack it before the
                modules that it needs can be found.
            threads: Of the numeric libraries.
            program: The program that the evaluator comes from, with its modules.
        """
        program.install()
        self._references, self._threads = evaluator, threads
        self._evaluator: Evaluator
        self._reports: Generator[Any, bool | None]
        os.environ.update(thread_environment(threads))
        pin_loaded_torch(threads)

    def ready(self) -> EvaluatorRefusal | None:
        """Reads and prepares the evaluator; returns why that can't be done here, or None."""
        import ray

        try:
            (self._evaluator,) = ray.get(self._references)
        except ray.exceptions.RayError as error:
            reason = str(error).split("\n")[0].removeprefix("System error: ")[:200]
            return _refusal(
                f"the evaluator can't be read in a worker ({reason}); its code must be installed, "
                "in PYTHONPATH, or imported by the program from its own folder"
            )
        try:
            prepare(self._evaluator)
        except NasError as error:
            return _refusal(str(error))
        except Exception as error:
            return _refusal(f"the evaluator can't be prepared: {classify(error).message}")
        return None

    def begin(self, candidate: Any, seed: int, repeat: int, length: int, metric: str) -> Any:
        """Starts a trial; returns its first report, or its outcome.

        Args:
            candidate: What is scored, as it is or `Packed`.
            seed: Of the trial.
            repeat: Number of the candidate's evaluation, from 0.
            length: Factor on the length of the trial.
            metric: The name of a bare number that the evaluator returns.
        """
        if isinstance(candidate, Packed):
            candidate = candidate.kind.from_json(candidate.text)
        self._reports = evaluate(
            self._evaluator,
            candidate,
            seed,
            repeat=repeat,
            length=length,
            metric=metric,
            threads=self._threads,
        )
        return self.go_on(None)

    def go_on(self, keep: bool | None) -> Any:
        """Goes on from the last report; returns the next one, or the outcome.

        Args:
            keep: False ends the trial at its last report.
        """
        try:
            return self._reports.send(keep)
        except NasError as error:
            return _refusal(str(error))


def _refusal(message: str) -> EvaluatorRefusal:
    import ray

    return EvaluatorRefusal(message, ray.get_runtime_context().get_node_id())


@dataclass(frozen=True)
class Packed:
    """A candidate as it is sent to an actor.

    Attributes:
        kind: Its class, which reads it with `from_json`.
        text: Its JSON.
    """

    kind: Any
    text: str
