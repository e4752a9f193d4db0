"""The contract of a proxy: a cheap stand-in for training a candidate in full."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from nas.data.settings import DataSettings
from nas.models.pretrained.initial import FROM_SCRATCH, Starts
from nas.settings import Settings
from nas.tables import OpenTable, Section

if TYPE_CHECKING:
    from nas.data.coco import Split
    from nas.genome import Genome

PROXIES = OpenTable("proxies", {"training": "proxies.training:TrainingProxy"})
"""The place of each proxy's class, by its name; another package may add its own."""

PROXY = Section(PROXIES, "training")
"""A config's section `proxy`, whose name chooses its settings."""


class BaseProxySettings(Settings):
    """A config's section `proxy`; a proxy's own settings add fields, and set `name`.

    Attributes:
        name: The proxy's, as in `PROXIES`.
        threads: CPU threads of each trial.
    """

    name: str
    threads: int = Field(default=1, ge=1)


class Proxy(abc.ABC):
    """Scores candidates of a search; an evaluator for `nas.search`.

    It is pickled, and called in other processes. A proxy defines `metrics`, `settings_type`,
    `describe` and `__call__`; the rest has defaults. Its line stands in `PROXIES`.

    Attributes:
        settings_type: The class of a config's section `proxy` with this proxy's name.
        metrics: The names that a trial reports, so that an objective can be checked beforehand.
        starts: The weights that trials start from; set once, before the proxy is used.

    Args:
        settings: Of the trials.
        data: A COCO folder; None stands for the built-in scenes.
        data_settings: Of the hold-out and the cache.
        data_seed: Draws the hold-out and the images.
        device: The device that trials run on, "cpu" or "cuda".
        rungs: Numbers of the reports after which trials may be stopped. A proxy that doesn't report
            while it scores refuses any.
    """

    settings_type: ClassVar[type[Any]]
    metrics: ClassVar[tuple[str, ...]]

    settings: Any
    starts: Starts = FROM_SCRATCH

    def __init__(
        self,
        settings: Any = None,
        data: Path | str | None = None,
        data_settings: DataSettings | None = None,
        *,
        data_seed: int = 0,
        device: str = "cpu",
        rungs: Sequence[int] = (),
    ) -> None:
        self.settings = settings or self.settings_type()
        self.data = None if data is None else Path(data)
        self.data_settings = data_settings or DataSettings()
        self.data_seed, self.device, self.rungs = data_seed, device, tuple(rungs)

    @abc.abstractmethod
    def __call__(self, genome: Genome, seed: int, length: float = 1) -> Any:
        """Scores a candidate.

        Args:
            genome: The candidate as deployed.
            seed: The same one gives the same numbers, within one numerics class.
            length: Factor on the length of the trial, for the finalists.

        Returns:
            Metrics by name; or an iterator that yields them rung by rung.
        """

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns what a result depends on besides candidate, seed and numerics, as JSON values.

        It is the proxy's identity: a run goes on, or gives its results to another, only if it is
        the same.
        """

    @property
    def numerics(self) -> str | None:
        """The numerics class, within which metrics are bit-equal; None lets the worker name one."""
        return None

    def prepare_search(self, folder: Path) -> None:
        """Makes what all trials share; by default nothing.

        It is called before the first trial, and again when a run goes on.

        Args:
            folder: The run's, which workers can read.
        """

    def prepare(self) -> None:
        """Opens what a process keeps between trials; called once in each worker."""

    def scaled(self, genome: Genome) -> Genome:
        """Returns the network that a trial of a candidate builds; by default the candidate.

        Args:
            genome: The candidate as deployed.
        """
        return genome

    def splits(self) -> tuple[Split, ...]:
        """Returns the splits that trials read, to be decoded beforehand; by default none.

        Raises:
            DataError: if they can't be used for trials.
        """
        return ()

    def pixel_sides(self, size: int) -> tuple[int, ...]:
        """Returns the side at which the pixels of each of `splits` are cached.

        Args:
            size: Side of the network's input.
        """
        return (size,) * len(self.splits())

    def refuse_lacking(self, *splits: Split) -> None:
        """Refuses data that trials can't use; by default none.

        Args:
            splits: Those of `splits`, or the images of each that can be decoded.

        Raises:
            DataError: if something is lacking; the message names it.
        """

    def plan(self) -> dict[str, str]:
        """Returns the lines of a dry run on trials, by their names; by default none."""
        return {}

    def shortened(self) -> Self:
        """Returns a proxy whose trials need as much memory in little time, to be measured."""
        return self
