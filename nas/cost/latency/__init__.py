"""Latency by a device's table: the time of each unit there, summed before anything is trained.

A table of version 1 is written by hand (`nas.cost.latency.unit_table`), one of version 2 is
measured (`nas.cost.latency.table`), and says itself how far it was off.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from nas.cost.latency.conditions import read_json, validated
from nas.cost.latency.table import DeviceTable
from nas.cost.latency.unit_table import LatencyTable
from nas.genome import Genome
from nas.settings import Settings

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
