"""`nas train --dry-run`: what the whole run takes, and whether this machine has it."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from rich.table import Table

from nas.data.cache import cache_bytes, cache_path
from nas.errors import ConfigError
from nas.planning.train_probe import GB, PlannedTraining, Probe, measure
from nas.report.formatting import time_text
from nas.ui.console import console

CHECKPOINTS = 3
"""On the disk at once: the last one, the one before it, and the one being written."""


def dry_run(training: PlannedTraining) -> None:
    """Measures one micro-batch, and prints what the whole training takes.

    Raises:
        ConfigError: memory or disk don't suffice; one line, with what to set.
    """
    probe = measure(training)
    rows = {
        "memory": memory_text(training, probe),
        **time_rows(training, probe, datetime.now().astimezone()),
        **{
            f"disk for {what}": f"{size / GB:.2f} GB in {folder}, {_free(folder) / GB:.1f} GB free"
            for what, size, folder in disk_needs(training)
        },
    }
    table = Table(title="what it takes", show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    lacking = lacking_memory(training, probe) + lacking_disk(training)
    if lacking:
        raise ConfigError("; ".join(lacking))


def memory_text(training: PlannedTraining, probe: Probe) -> str:
    """Returns memory as measured, and extrapolated to the images that a process holds at once."""
    text, at_once = (
        f"{probe.peak / GB:.2f} GB measured with {probe.images} images",
        training.at_once,
    )
    if at_once != probe.images:
        text += f"; {probe.memory(at_once) / GB:.1f} GB extrapolated to {at_once} at once"
    return f"{text}; {probe.room / GB:.1f} GB can be had"


def time_rows(training: PlannedTraining, probe: Probe, now: datetime) -> dict[str, str]:
    """Returns the times of a step and of everything, as measured and as extrapolated."""
    recipe, decodes = training.recipe, training.config.data.pixels == "decode"
    ready, compute = probe.augment, probe.update / probe.images
    # Batches decoded anew are prepared while the one before them is trained on.
    each = max(compute, ready + probe.decode) if decodes else compute + ready
    step, total = training.share * each, recipe.epochs * training.steps
    learning, judging = total * step, len(training.val) * probe.detect
    caching = probe.decode * sum(len(part) for part in training.uncached)
    if decodes:
        judging += probe.decode * len(training.val)
    several = training.processes > 1
    rows = {
        "measured": f"{probe.update:.2f} s an update of {probe.images} images (of {probe.updates}"
        f" updates); an image takes {1000 * probe.decode:.1f} ms to decode and "
        f"{1000 * probe.augment:.1f} ms to change at random",
        "a step": f"{step:.2f} s extrapolated to {recipe.batch_size} images, "
        f"{recipe.batch_size / step:.2f} images a second"
        + (f", were the {training.processes} processes never to wait" if several else ""),
        "decoding": f"{_long(caching)}, once" if caching else "in each epoch" * decodes or "done",
        "training": f"{_long(learning)} for {total:,} steps",
        "judging": f"{_long(judging)} for {len(training.val):,} images, once",
    }
    whole = caching + learning + judging
    return rows | {"all of it": f"{_long(whole)}; begun now, it is over {_end(now, whole)}"}


def disk_needs(training: PlannedTraining) -> list[tuple[str, int, Path]]:
    """Returns what is still to be written: its name, its bytes, and the folder."""
    source, data = training.model.genome.input, training.config.data
    needs = [("checkpoints", CHECKPOINTS * training.state.kept, training.folder)]
    larger = source.size * training.recipe.oversample
    pixels = sum(
        cache_bytes(part, larger if part is training.split else source.size)
        for part in training.uncached
    )
    if pixels:
        path = cache_path(training.split, larger, source.resize, data.cache_dir)
        needs.insert(0, ("pixels", pixels, path.parent))
    return needs


def lacking_memory(training: PlannedTraining, probe: Probe) -> list[str]:
    """Returns a sentence where the images held at once don't fit, with how many would."""
    at_once = training.at_once
    needed = probe.memory(at_once)
    if needed <= probe.room:
        return []
    fit = int((probe.room - probe.memory(0)) / max(probe.activations, 1))
    parts = [n for n in range(2, at_once) if training.share % n == 0 and n <= fit]
    remedy = f"set recipe.micro_batch={parts[-1]}" if parts else "take a smaller scale.input_size"
    return [
        f"{at_once} images at once need {needed / GB:.1f} GB of memory, and "
        f"{probe.room / GB:.1f} GB can be had: {remedy}"
    ]


def lacking_disk(training: PlannedTraining) -> list[str]:
    """Returns a sentence for each disk on which there is too little room."""
    disks: dict[int, list[tuple[str, int, Path]]] = {}
    for need in disk_needs(training):
        disks.setdefault(os.stat(_existing(need[2])).st_dev, []).append(need)
    lines = []
    for needs in disks.values():
        total, folder = sum(size for _, size, _ in needs), needs[0][2]
        free, what = _free(folder), " and ".join(name for name, _, _ in needs)
        remedy = "make room"
        if "pixels" in what:
            remedy += ", set data.cache_dir, or decode in each epoch with data.pixels=decode"
        if total > free:
            lines.append(
                f"{what} need {total / GB:.1f} GB of disk, and {free / GB:.1f} GB are free in "
                f"{folder}: {remedy}"
            )
    return lines


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above it that is there."""
    absolute = folder.expanduser().absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def _long(seconds: float) -> str:
    """Returns a time in words, of days too: `12 min`, `3 h 05 min`, `41 days`."""
    return time_text(seconds) if seconds < 72 * 3600 else f"{seconds / 86400:,.0f} days"


def _end(now: datetime, seconds: float) -> str:
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return "after the last year that calendars know"
    return f"at {end:%H:%M}" if end.date() == now.date() else f"on {end:%d %b %Y, %H:%M}"
