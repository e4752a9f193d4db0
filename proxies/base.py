"""What a proxy is: a cheap stand-in for training a candidate in full, which scores trials."""

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
"""Name of a proxy to the place of its class, a `Proxy`; another package may add its own."""

PROXY = Section(PROXIES, "training")
"""What chooses a proxy's settings by their name."""


class BaseProxySettings(Settings):
    """A config's section `proxy`; each proxy has its own fields, and `name` with its own.

    Attributes:
        threads: of each trial.
    """

    name: str
    threads: int = Field(default=1, ge=1)


class Proxy(abc.ABC):
    """Scores candidates of a search; an evaluator for `nas.search`.

    It is pickled, and called in other processes. A new one has `metrics`, `settings_type`,
    `describe` and `__call__`; the rest has defaults. Its line stands in `PROXIES`.

    Attributes:
        settings_type: what a config's section `proxy` may hold with this proxy's name.
        metrics: the names that a trial reports, so that an objective can be checked beforehand.
        device: what trials run on, "cpu" or "cuda".
        starts: what trials start from; whoever makes a proxy sets it before anything else.

    Args:
        settings: of the trials.
        data: a COCO folder; None stands for the built-in scenes.
        data_settings: of the hold-out and the cache.
        data_seed: draws the hold-out and the images.
        rungs: reports after which trials may be stopped; a proxy that can't report refuses any.
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
            genome: as deployed.
            seed: the same one gives the same numbers, within one class of numerics.
            length: factor on the effort, for the finalists.

        Returns:
            Metrics by name; or an iterator that yields them rung by rung.
        """

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns what a result depends on besides candidate, seed and numerics, for JSON.

        It is the proxy's identity: a run goes on, or gives its results to another, only where this
        is the same.
        """

    @property
    def numerics(self) -> str | None:
        """The class within which metrics are bit-equal; None lets the worker name one."""
        return None

    def prepare_search(self, folder: Path) -> None:
        """Makes, once before the first trial, what all trials share; by default nothing.

        It is called again when a run goes on.

        Args:
            folder: the run's, which workers can read.
        """

    def prepare(self) -> None:
        """Opens what a process keeps between trials; called once in each worker."""

    def scaled(self, genome: Genome) -> Genome:
        """Returns the network that a trial of a candidate builds; by default the candidate."""
        return genome

    def splits(self) -> tuple[Split, ...]:
        """Returns the images that trials read, to be decoded beforehand; by default none.

        Raises:
            DataError: if trials can't be made of them.
        """
        return ()

    def pixel_sides(self, size: int) -> tuple[int, ...]:
        """Returns at which side the pixels of each of `splits` are cached, for inputs of `size`."""
        return (size,) * len(self.splits())

    def refuse_lacking(self, *splits: Split) -> None:
        """Refuses what `splits` gave, or what can be decoded of it, where it won't do.

        Raises:
            DataError: names what is lacking.
        """

    def plan(self) -> dict[str, str]:
        """Returns what a dry run says of trials, name by name; by default nothing."""
        return {}

    def shortened(self) -> Self:
        """Returns a proxy whose trials take as much memory and little time, to be measured."""
        return self
