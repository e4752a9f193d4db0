"""`nas device measure`: times samples of networks on this machine, and makes its table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from nas import environment
from nas.config.schema import SearchConfig
from nas.cost.latency.pack import RUNNER, write_pack
from nas.cost.latency.results import DeviceTimes, check_same, make_table
from nas.environment import versions
from nas.errors import RunError
from nas.jobs.device.add import table_so_far, write_table
from nas.jobs.device.pack import choose_samples
from nas.report.formatting import time_text
from nas.runs.outputs import check_file
from nas.temporary import temporary_folder
from nas.ui.console import console, counted, progress_bar

BUSY = 0.5
"""Processes that want to run; with more, times on this machine may be too long."""

MOST_LINES = 20
"""Lines of a runner's output that are shown when it fails."""


def measure(
    config: SearchConfig,
    genomes: Sequence[str],
    *,
    out: Path,
    samples: int,
    networks: int,
    classes: int,
    rounds: int,
    threads: int,
) -> list[Path]:
    """Times samples on this machine, and makes its table or adds to it.

    Args:
        config: whose space networks are drawn from.
        genomes: references; networks that are timed in place of a space's.
        out: the table.
        samples: how many parts of networks to time.
        networks: how many whole networks to time; of references all.
        classes: background counts.
        rounds: over all samples, each of which gives a time.
        threads: of one operator.

    Returns:
        The table.

    Raises:
        NasError: the table is of another device or can't be written, or the runner failed.
    """
    check_file(out)
    before, device = table_so_far(out), f"{environment.processor()}, {environment.cores()} cores"
    if before is not None:
        check_same(before, device, f"onnxruntime {versions()['onnxruntime']}", threads, "float32")
    chosen = choose_samples(config, genomes, samples, networks, classes)
    _note_load()
    with temporary_folder("device-") as folder:
        pack, times = folder / "pack", folder / "times.json"
        with counted("writing pieces") as step:
            write_pack(chosen, pack, step)
        _run(pack, times, device, len(chosen), rounds, threads)
        return [write_table(make_table(DeviceTimes.read(times), before), out)]


def _note_load() -> None:
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
            lines = _follow(process, bar, count, rounds)
        except BaseException:
            process.kill()  # else it would be waited for to its end
            raise
    for line in lines[: MOST_LINES if process.returncode else -1]:  # the last one is a summary
        console.print(line)
    if process.returncode:
        raise RunError(f"the runner ended with {process.returncode}; nothing was measured")


def _follow(process: subprocess.Popen[str], bar: Progress, count: int, rounds: int) -> list[str]:
    """Shows a runner's progress until it ends; returns what else it printed."""
    task = bar.add_task("timing", total=rounds * count, note="")
    lines: list[str] = []
    started = time.monotonic()
    assert process.stdout is not None
    for line in process.stdout:
        done, _, total = line.strip().partition("/")
        if not (done.isdigit() and total.isdigit()):
            lines.append(line.rstrip())
            continue
        bar.update(task, completed=int(done))
        if int(done) == count and rounds > 1:
            spent = time.monotonic() - started
            left = time_text(spent * (rounds - 1))
            bar.console.print(f"one round took {time_text(spent)}; {left} for the others")
    return lines
