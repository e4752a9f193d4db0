"""Latency by a device's table: the time of each unit there, summed before anything is trained.

A table of version 1 is written by hand, a time for each kind of unit. Such a sum knows nothing of
what a runtime fuses or keeps in its cache. It is good for limits and for ranking; how far it is
off, only whole networks timed on the device can tell. One of version 2 is measured
(`nas.cost.device_table`), and says itself how far it was off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator

from nas.cost.device_table import DeviceTable
from nas.cost.signature import signatures
from nas.cost.table import PRINTABLE, Conditions, Time, read_json, validated
from nas.errors import ConfigError
from nas.genome import Genome
from nas.settings import Settings

MAX_UNITS = 50_000

Signature = Annotated[str, Field(pattern=PRINTABLE, max_length=1000)]


class LatencyTable(Conditions):
    """Times of one picture on one device, under stated conditions.

    Attributes:
        unit_ms: of each kind of unit, by its signature (`nas.cost.signature`).

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


Table = LatencyTable | DeviceTable


class CostSettings(Settings):
    """What a candidate is measured by before any training, besides what is counted.

    Attributes:
        latency_table: a device's times, as JSON: what ``nas device measure`` or ``nas device add``
            made (`DeviceTable`), or one written by hand (`LatencyTable`); they give the cost
            latency_ms.
    """

    latency_table: Path | None = None

    @field_validator("latency_table")
    @classmethod
    def _found_from_everywhere(cls, path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    def table(self) -> Table | None:
        """Reads the table, if there is one.  Raises ConfigError as `read_table` does."""
        return None if self.latency_table is None else read_table(self.latency_table)


def read_table(path: Path) -> Table:
    """Reads a table of either version.

    Raises:
        ConfigError: it can't be read or isn't one, in one line that names the field.
    """
    tree = read_json(path, "latency table")
    version = tree.get("version") if isinstance(tree, dict) else None
    if version == 2:
        return validated(DeviceTable, tree, path, "latency table")
    return validated(LatencyTable, tree, path, "latency table")


def latency_ms(genome: Genome, table: Table, num_classes: int = 91) -> float:
    """The time of one picture in milliseconds: the overhead, and that of every deployed unit.

    Args:
        genome: as deployed.
        num_classes: background counts.

    Raises:
        GenomeError: when the genome isn't legal.
        ConfigError: when the table lacks units or operators; names the first.
    """
    return table.time_ms(genome, num_classes)
