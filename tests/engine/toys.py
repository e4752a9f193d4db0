"""Spaces and evaluators small enough to reason about; importable by workers and by a driver."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.controllers import ControllerSettings, make_controller
from nas.errors import DataError, GenomeError
from nas.space import Code
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.settings import StudySettings
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome
from nas.testing.controllers import SPACES, StaircaseSpace, drive

__all__ = ["SPACES", "StaircaseSpace", "drive"]

CONTROLLERS = ("random", "evolution", "reinforce", "ppo", "predictor")


def total(candidate: dict[str, int], seed: int) -> float:
    """Higher choices are better."""
    return float(sum(candidate.values()))


def noisy(candidate: dict[str, int], seed: int) -> dict[str, float]:
    """Depends on every bit of the candidate and of the seed."""
    digest = hashlib.sha256(f"{sorted(candidate.items())}{seed}".encode()).digest()
    return {"score": int.from_bytes(digest[:7], "big") / 2**56, "extra": digest[8] / 3}


def rungs(candidate: dict[str, int], seed: int) -> Iterator[dict[str, float]]:
    """Yields three rungs."""
    for rung in (1, 2, 3):
        yield {"score": rung * total(candidate, seed)}


class Matmul:
    """Sums in torch, whose last bits depend on the number of threads."""

    def prepare(self) -> None:
        """Loads torch, which may take longer than a trial may."""
        import torch  # noqa: F401

    def __call__(self, candidate: dict[str, int], seed: int) -> dict[str, float]:
        import torch

        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(257, 4099, generator=generator)
        value = (a @ a.T).sum() + torch.randn(2**17 + 3, generator=generator).sum()
        return {"score": float(value), "threads": float(torch.get_num_threads())}


matmul = Matmul()


class Mixed:
    """Raises, kills its worker, or hangs, by the value of the first choice.

    Each fault but the first happens once only if `scratch` is given.
    """

    def __init__(self, scratch: Path, faults: dict[int, str]) -> None:
        self.scratch, self.faults = scratch, faults

    def describe(self) -> dict[str, Any]:
        return {"name": "mixed"}

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        fault = self.faults.get(next(iter(candidate.values())))
        marker = self.scratch / f"{seed}-{fault}"
        if fault and fault.startswith("once "):
            if marker.exists():
                fault = None
            else:
                marker.touch()
                fault = fault.removeprefix("once ")
        if fault == "raise":
            raise ValueError("no such kernel")
        if fault == "memory":
            raise MemoryError("16 GB asked")
        if fault == "nan":
            return float("nan")
        if fault == "genome":
            raise GenomeError("level 9 is not built")
        if fault == "data":
            raise DataError("train.json: missing; give --data")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            time.sleep(600)
        return total(candidate, seed)


def settings_of(options: dict[str, Any]) -> StudySettings:
    """Takes what is the study's settings out of a test's options; `settings` are further ones."""
    further = dict(options.pop("settings", StudySettings()))
    own = {name: options.pop(name) for name in StudySettings.model_fields if name in options}
    return StudySettings(**further | own)


def make_study(store: Store | None = None, controller: str = "random", **options: Any) -> Study:
    """A study over 4^6 candidates, with what the test changes."""
    space = options.pop("space", None) or SPACES["product"]()
    seed = options.pop("seed", 0)
    objective = options.pop("objective", None) or ObjectiveSettings(maximize="score")
    settings = settings_of(options)
    return Study(
        space,
        make_controller(ControllerSettings(name=controller), space, seed),
        objective,
        store or Store.open(None),
        settings,
        seed=seed,
        **{"budget": 20} | options,
    )


def scored(value: float) -> Outcome:
    return Outcome(metrics={"score": value})


def failed(kind: FailureKind) -> Outcome:
    return Outcome(failure=Failure(kind, "as the test wants"))


def codes(study: Study) -> list[Code]:
    return [record.code for record in study.records.values()]
