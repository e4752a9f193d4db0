"""`nas device add`: a device's table, from what a pack's runner wrote there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.cost.latency import read_table
from nas.cost.latency.results import DeviceTimes, make_table
from nas.cost.latency.table import DeviceTable
from nas.errors import ConfigError, RunError
from nas.files import write_text
from nas.runs.outputs import check_file
from nas.ui.console import console

DISTURBED = 0.1
"""Share of runs that had to wait for the processor; with more, times are worth another try."""


def add(files: Sequence[Path], *, out: Path) -> list[Path]:
    """Makes a device's table of what its runner wrote, or adds that to it.

    Args:
        files: what the runner wrote, once or more often.
        out: the table; one that is there is added to.

    Returns:
        The table.

    Raises:
        NasError: a file isn't a runner's or of another device, or the table can't be written.
    """
    check_file(out)
    if out.exists() and any(path.exists() and path.samefile(out) for path in files):
        raise RunError(f"{out}: is one of the files to read; name another --out")
    runs = [DeviceTimes.read(path) for path in files]
    table = table_so_far(out)
    for times in runs:
        table = make_table(times, table)
    return [write_table(table, out)] if table is not None else []


def table_so_far(path: Path) -> DeviceTable | None:
    """Returns the table that is added to, if there is one.

    Raises:
        ConfigError: it is no table, or one by hand.
    """
    if not path.exists():
        return None
    table = read_table(path)
    if not isinstance(table, DeviceTable):
        raise ConfigError(
            f"{path}: is a table written by hand; measured times make another: name a new --out"
        )
    return table


def write_table(table: DeviceTable, out: Path) -> Path:
    """Writes a table, and prints how far it can be trusted.

    Raises:
        RunError: it can't be written.
    """
    try:
        write_text(out, table.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{out}: can't be written ({error.strerror}); name another --out") from None
    accuracy = table.accuracy
    lines = [f"{table.conditions}: {accuracy.pieces} pieces, {accuracy.networks} networks"]
    for name, off in (("pieces", accuracy.piece_error), ("networks", accuracy.network_error)):
        if off is not None:
            lines.append(f"{name} left out of the fit are told within {off:.1%} (median)")
    if table.protocol.disturbed > DISTURBED:
        lines.append(
            f"note: {table.protocol.disturbed:.0%} of the runs had to wait for the processor; "
            "measure again when nothing else runs"
        )
    console.print(*lines)
    return out
