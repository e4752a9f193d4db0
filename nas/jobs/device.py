"""`nas device …`: times pieces of a space's networks on a device, and makes the device's table."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from nas import environment
from nas.config import SearchConfig
from nas.cost.latency import read_table
from nas.cost.latency.pack import RUNNER, write_pack
from nas.cost.latency.results import DeviceTimes, check_same, make_table
from nas.cost.latency.sampling import Piece, design
from nas.cost.latency.table import DeviceTable
from nas.environment import versions
from nas.errors import ConfigError, RunError
from nas.files import write_text
from nas.genome import Genome
from nas.jobs.outputs import check_file, check_folder
from nas.report.formatting import time_text
from nas.runs.reference import parse
from nas.temporary import temporary_folder
from nas.ui.console import console, counted, progress_bar
from search_spaces.registry import make_space

DRAWS = 400
"""Networks drawn for their units."""
BUSY = 0.5
"""Processes that want to run; with more, times on this machine may be too long."""
DISTURBED = 0.1
"""Share of runs that had to wait for the processor; with more, times are worth another try."""

MOST_LINES = 20
"""Of what a runner says when it fails."""


def measure(
    config: SearchConfig,
    genomes: Sequence[str],
    *,
    out: Path,
    pieces: int,
    networks: int,
    classes: int,
    rounds: int,
    threads: int,
) -> list[Path]:
    """Times pieces on this machine, and makes its table or adds to it.

    Args:
        config: whose space networks are drawn from.
        genomes: references; networks that are timed in place of a space's.
        out: the table.
        pieces, networks: how many to time; of references all.
        classes: background counts.
        rounds, threads: see the runner.
    """
    check_file(out)
    before, device = _table(out), f"{environment.processor()}, {environment.cores()} cores"
    if before is not None:
        check_same(before, device, f"onnxruntime {versions()['onnxruntime']}", threads, "float32")
    chosen = _design(config, genomes, pieces, networks, classes)
    _say_load()
    with temporary_folder("device-") as folder:
        pack, times = folder / "pack", folder / "times.json"
        with counted("writing pieces") as step:
            write_pack(chosen, pack, step)
        _run(pack, times, device, len(chosen), rounds, threads)
        return [_write(make_table(DeviceTimes.read(times), before), out)]


def pack(
    config: SearchConfig,
    genomes: Sequence[str],
    *,
    folder: Path,
    pieces: int,
    networks: int,
    classes: int,
) -> list[Path]:
    """Writes the folder that is copied to a device."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: there is something already; name a new folder")
    check_folder(folder, "OUT_DIR")
    chosen = _design(config, genomes, pieces, networks, classes)
    try:
        with counted("writing pieces") as step:
            write_pack(chosen, folder, step)
    except OSError as error:
        raise RunError(f"{folder}: can't be written ({error.strerror}); name another") from None
    console.print(
        f"copy {folder} to the device and type there, in that folder:",
        f'python {RUNNER} --device "Pixel 4"',
        "then bring times.json back for nas device add",
    )
    return [folder]


def add(files: Sequence[Path], *, out: Path) -> list[Path]:
    """Makes a device's table of what its runner wrote, or adds that to it."""
    check_file(out)
    if out.exists() and any(path.exists() and path.samefile(out) for path in files):
        raise RunError(f"{out}: is one of the files to read; name another --out")
    known = [DeviceTimes.read(path) for path in files]
    table = _table(out)
    for times in known:
        table = make_table(times, table)
    return [_write(table, out)] if table is not None else []


def _table(path: Path) -> DeviceTable | None:
    """The table that is added to, if there is one."""
    if not path.exists():
        return None
    table = read_table(path)
    if not isinstance(table, DeviceTable):
        raise ConfigError(
            f"{path}: is a table written by hand; measured times make another: name a new --out"
        )
    return table


def _design(
    config: SearchConfig, genomes: Sequence[str], pieces: int, networks: int, classes: int
) -> list[Piece]:
    if genomes:
        named: list[Genome] = [parse(text).genome() for text in genomes]
        return design(named, named, pieces, config.seed, classes)
    space, rng = make_space(config.space), random.Random(config.seed)
    drawn = [space.sample(rng) for _ in range(DRAWS)]
    whole = [space.sample(rng) for _ in range(networks)]
    return design(drawn, whole, pieces, config.seed, classes)


def _say_load() -> None:
    """Warns where others use the machine."""
    load = os.getloadavg()[0]
    if load > BUSY:
        console.print(
            f"note: {load:.1f} processes use this machine already; times may be too long, and "
            "measuring takes longer"
        )


def _run(pack: Path, times: Path, device: str, count: int, rounds: int, threads: int) -> None:
    """Runs the pack's runner in a process of its own, under a bar."""
    words = [sys.executable, str(pack / RUNNER), "--device", device, "--out", str(times)]
    words += ["--threads", str(threads), "--rounds", str(rounds)]
    with (
        progress_bar() as bar,
        subprocess.Popen(  # noqa: S603
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        try:
            said = _follow(process, bar, count, rounds)
        except BaseException:
            process.kill()  # else it would be waited for to its end
            raise
    for line in said[: MOST_LINES if process.returncode else -1]:  # the last one is a summary
        console.print(line)
    if process.returncode:
        raise RunError(f"the runner ended with {process.returncode}; nothing was measured")


def _follow(process: subprocess.Popen[str], bar: Progress, count: int, rounds: int) -> list[str]:
    """Shows a runner's progress until it ends; returns what else it said."""
    task, said, started = (
        bar.add_task("timing", total=rounds * count, note=""),
        [],
        time.monotonic(),
    )
    assert process.stdout is not None
    for line in process.stdout:
        done, _, total = line.strip().partition("/")
        if not (done.isdigit() and total.isdigit()):
            said.append(line.rstrip())
            continue
        bar.update(task, completed=int(done))
        if int(done) == count and rounds > 1:
            spent = time.monotonic() - started
            left = time_text(spent * (rounds - 1))
            bar.console.print(f"one round took {time_text(spent)}; {left} for the others")
    return said


def _write(table: DeviceTable, out: Path) -> Path:
    """Writes a table, and says how far it can be trusted."""
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
