"""Settings of the machines that trials run on; they may change when a run goes on."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from nas.errors import ConfigError
from nas.settings import Settings, duration


class MachineSettings(Settings):
    """The settings that a search and a training have in common.

    Attributes:
        executor: "ray" starts workers; "inline" works in this process.
        workers: The number of processes at once.
        gpus_per_worker: "auto", or a number; with 0, workers use the processor.
        address: Of a running Ray cluster ("auto" for this machine's); None starts a private one.
    """

    executor: Literal["inline", "ray"] = "ray"
    workers: PositiveInt = 2
    gpus_per_worker: float | str = "auto"
    address: str | None = None

    @field_validator("gpus_per_worker")
    @classmethod
    def _is_share(cls, value: float | str) -> float | str:
        if value == "auto":
            return value
        if isinstance(value, float) and (0.0 <= value <= 1.0 or value in range(2, 1000)):
            return value
        raise ValueError(f"{value!r} is not auto, a share of a GPU (0.25), or whole GPUs (0, 1, 2)")

    @model_validator(mode="after")
    def _reaches_its_cluster(self) -> Self:
        if self.executor == "inline" and self.address is not None:
            raise ValueError(
                f"address {self.address!r} is a Ray cluster's, and executor 'inline' works in this "
                "process; set executor ray, or address null"
            )
        return self

    @property
    def gpus(self) -> float:
        """The number of GPUs of a worker; 0 while "auto" isn't resolved."""
        return 0.0 if isinstance(self.gpus_per_worker, str) else self.gpus_per_worker


class SearchComputeSettings(MachineSettings):
    """The machines' side of `nas search`, where a trial's threads are the proxy's.

    Attributes:
        executor: "ray" runs trials in actors; "inline" in this process, one after the other.
        workers: The number of trials at once.
        gpus_per_worker: May be a fraction, and then workers share a GPU. "auto" measures the memory
            of one trial (`nas.executors.gpu_share`); it is 0 where there is no GPU.
        trial_timeout: Seconds, or text such as "30m"; None sets no limit. "inline" can check it,
            and a budget in time, only between the reports that an evaluator yields.
        max_failures: The share of failed trials above which the run stops.
    """

    trial_timeout: float | str | None = None
    max_failures: float = Field(default=0.3, ge=0.0, le=1.0)

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
        """The number of trials that really run at once."""
        return self.workers if self.executor == "ray" else 1

    @property
    def timeout(self) -> float | None:
        """The limit of a trial in seconds."""
        return None if self.trial_timeout is None else duration(self.trial_timeout)

    def with_threads(self, threads: int) -> ComputeSettings:
        """Returns these settings with CPU threads per trial; fields that weren't set stay unset.

        Args:
            threads: Of each trial.
        """
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        return ComputeSettings(**{**fields, "threads": threads})


class ComputeSettings(SearchComputeSettings):
    """The machines' side of a search over any space.

    Attributes:
        threads: CPU threads per trial, pinned, so that a trial's bits don't depend on the executor.
    """

    threads: PositiveInt = 1


class TrainComputeSettings(MachineSettings):
    """The machines' side of one training.

    Attributes:
        executor: "inline" allows one worker alone.
        workers: The number of processes that share each batch. One trains in this process; Ray
            starts more, each with one GPU where there are any ("auto").
        gpus_per_worker: "auto", 1, or 0 to train on the processor.
    """

    workers: PositiveInt = 1

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.workers > 1 and self.executor == "inline":
            raise ValueError(
                f"executor 'inline' trains in one process, and workers is {self.workers}; set "
                "executor ray, or workers 1"
            )
        if self.workers == 1 and self.address is not None:
            raise ValueError(
                f"address {self.address!r} is for several workers, and one trains in this process; "
                "set workers 2 or more, or address null"
            )
        if self.gpus_per_worker not in ("auto", 0, 1):
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker}: each worker of a training has one GPU, "
                "or none; set auto, 1 or 0"
            )
        return self
