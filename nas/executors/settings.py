"""Where and on what trials run; may change between a run and its resumption."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from nas.errors import ConfigError
from nas.settings import Settings
from nas.trial import duration


class ComputeSettings(Settings):
    """The machines' side of a search.

    Attributes:
        executor: "ray" runs trials in actors; "inline" in this process, one after the other.
        workers: trials at once.
        threads: CPU threads per trial, pinned, so that a trial's bits don't depend on the executor.
        gpus_per_worker: may be a fraction.
        trial_timeout: seconds, or text such as "30m"; None sets no limit. "inline" can look at the
            clock, for this and for a budget in time, only between the rungs that an evaluator
            yields.
        max_failures: the share of failed trials above which the run stops.
        address: of a running Ray cluster ("auto" for this machine's); None starts a private one.
    """

    executor: Literal["inline", "ray"] = "ray"
    workers: PositiveInt = 2
    threads: PositiveInt = 1
    gpus_per_worker: NonNegativeFloat = 0.0
    trial_timeout: float | str | None = None
    max_failures: float = Field(default=0.3, ge=0.0, le=1.0)
    address: str | None = None

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
    def timeout(self) -> float | None:
        """The limit of a trial in seconds."""
        return None if self.trial_timeout is None else duration(self.trial_timeout)
