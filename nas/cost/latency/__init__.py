"""Latency by a device's table: the time of each operator there, summed before anything is trained.

A table is measured (`nas device measure`), and then says itself how far it is off, or written by
hand (`docs/latency.md`).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from nas.cost.latency.conditions import read_json, validated
from nas.cost.latency.table import VERSION, DeviceTable, LatencyTable
from nas.errors import ConfigError
from nas.genome import Genome
from nas.settings import Settings

_MEASURED = DeviceTable.model_fields.keys() - LatencyTable.model_fields.keys()


class CostSettings(Settings):
    """What a candidate is measured by before any training, besides what is counted.

    Attributes:
        latency_table: a device's times, as JSON: what `nas device measure` or `nas device add`
            made, or a table written by hand; they give the cost `latency_ms`.
    """

    latency_table: Path | None = None

    @field_validator("latency_table")
    @classmethod
    def _found_from_everywhere(cls, path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    def table(self) -> LatencyTable | None:
        """Returns the table, if there is one.

        Raises:
            ConfigError: as `read_table` does.
        """
        return None if self.latency_table is None else read_table(self.latency_table)


def read_table(path: Path) -> LatencyTable:
    """Reads a device's table.

    Returns:
        A `DeviceTable` where anything is told of a measurement, else one by hand.

    Raises:
        ConfigError: it can't be read, isn't one or is of an older version, in one line that names
            the field.
    """
    tree = read_json(path, "latency table")
    version = tree.get("version") if isinstance(tree, dict) else None
    if isinstance(version, int) and version < VERSION:
        raise ConfigError(
            f"{path}: no latency table: it is of version {version}, this toolkit reads {VERSION}; "
            "measure again with nas device measure"
        )
    measured = isinstance(tree, dict) and bool(tree.keys() & _MEASURED)
    return validated(DeviceTable if measured else LatencyTable, tree, path, "latency table")


def latency_ms(genome: Genome, table: LatencyTable, num_classes: int = 91) -> float:
    """Returns the time of one picture in milliseconds: overhead and every deployed operator.

    Args:
        genome: as deployed.
        table: the device's times.
        num_classes: background counts.

    Raises:
        GenomeError: when the genome isn't legal.
        ConfigError: when the table lacks operators; names the first.
    """
    return table.time_ms(genome, num_classes)
