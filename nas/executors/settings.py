"""Where and on what trials run; may change between a run and its resumption."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from nas.errors import ConfigError
from nas.settings import Settings
from nas.trial import duration


class ComputeSettings(Settings):
    """The machines' side of a search.

    Attributes:
        executor: "ray" runs trials in actors; "inline" in this process, one after the other.
        workers: trials at once.
        threads: CPU threads per trial, pinned, so that a trial's bits don't depend on the executor.
        gpus_per_worker: may be a fraction, and then workers share a GPU. "auto" measures what one
            trial takes (`nas.executors.gpu_share`); it is 0 where no GPU is seen.
        trial_timeout: seconds, or text such as "30m"; None sets no limit. "inline" can look at the
            clock, for this and for a budget in time, only between the rungs that an evaluator
            yields.
        max_failures: the share of failed trials above which the run stops.
        address: of a running Ray cluster ("auto" for this machine's); None starts a private one.
    """

    executor: Literal["inline", "ray"] = "ray"
    workers: PositiveInt = 2
    threads: PositiveInt = 1
    gpus_per_worker: float | str = "auto"
    trial_timeout: float | str | None = None
    max_failures: float = Field(default=0.3, ge=0.0, le=1.0)
    address: str | None = None

    @field_validator("gpus_per_worker")
    @classmethod
    def _is_share(cls, value: float | str) -> float | str:
        if value == "auto":
            return value
        if isinstance(value, float) and (0.0 <= value <= 1.0 or value in range(2, 1000)):
            return value
        raise ValueError(f"{value!r} is not auto, a share of a GPU (0.25), or whole GPUs (0, 1, 2)")

    @field_validator("trial_timeout")
    @classmethod
    def _is_duration(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            try:
                duration(value, "trial_timeout")
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return value

    @property
    def at_once(self) -> int:
        """How many trials really run at once."""
        return self.workers if self.executor == "ray" else 1

    @property
    def gpus(self) -> float:
        """The GPUs of a worker; 0 while "auto" hasn't been measured."""
        return 0.0 if isinstance(self.gpus_per_worker, str) else self.gpus_per_worker

    @property
    def timeout(self) -> float | None:
        """The limit of a trial in seconds."""
        return None if self.trial_timeout is None else duration(self.trial_timeout)


class TrainComputeSettings(ComputeSettings):
    """The machines' side of one training.

    Attributes:
        workers: processes that share each batch. One trains in this process; more are started by
            Ray, each with one GPU where there are any ("auto").
    """

    workers: PositiveInt = 1
