"""A table of version 1, written by hand: a time for each kind of unit.

A sum of these knows nothing of what a runtime fuses or keeps in its cache. It is good for limits
and for ranking; how far it is off, only whole networks timed on the device can tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from nas.cost.latency.conditions import PRINTABLE, Conditions, Time, read_json, validated
from nas.cost.latency.signature import signatures
from nas.errors import ConfigError
from nas.genome import Genome

MAX_UNITS = 50_000

Signature = Annotated[str, Field(pattern=PRINTABLE, max_length=1000)]


class LatencyTable(Conditions):
    """Times of one picture on one device, under stated conditions.

    Attributes:
        unit_ms: of each kind of unit, by its signature (`nas.cost.latency.signature`).

    Example:
        >>> table = LatencyTable.read(Path("pixel4.json"))
        >>> costs = lambda genome: profile(genome, num_classes=32, latency=table).costs()
        >>> search(space, evaluate, budget=120, limits={"latency_ms": 30}, costs=costs)
    """

    version: Literal[1]
    unit_ms: Annotated[dict[Signature, Time], Field(min_length=1, max_length=MAX_UNITS)]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a table's JSON.

        Raises:
            ConfigError: it can't be read or isn't one, in one line that names the field.
        """
        return validated(cls, read_json(path, "latency table"), path, "latency table")

    def time_ms(self, genome: Genome, num_classes: int = 91) -> float:
        """See `latency_ms`."""
        counts = signatures(genome, num_classes)
        self._require(list(counts))
        times = (count * self.unit_ms[name] for name, count in counts.items())
        return math.fsum((self.overhead_ms, *times))  # exact: the listing's order changes no digit

    def cover(self, genomes: Iterable[Genome], num_classes: int) -> None:
        """Refuses to go on without a time of all that these genomes have.

        Raises:
            ConfigError: names the first that is lacking, and says how many.
        """
        drawn = (signatures(genome, num_classes) for genome in genomes)
        self._require(list(dict.fromkeys(name for counts in drawn for name in counts)))

    def _require(self, names: list[str]) -> None:
        missing = [name for name in names if name not in self.unit_ms]
        if missing:
            raise ConfigError(
                f"the latency table of {self.device} has no time for {missing[0]!r}, and lacks "
                f"{len(missing)} of the {len(names)} entries that are needed; measure them and add "
                "them to its unit_ms (nas.cost.signatures lists a genome's)"
            )

    def without_new(self, before: LatencyTable) -> dict[str, Any]:
        """What it says of that which an earlier table spoke of, too."""
        times = {name: self.unit_ms.get(name, "absent") for name in before.unit_ms}
        return self.model_dump() | {"unit_ms": times}
