"""`nas profile`: parameters and multiply-adds, part by part, beside what was published."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from nas.cost import profile as count
from nas.cost import read_table
from nas.runs.reference import parse
from nas.ui.console import console
from search_spaces import zoo


def profile(
    ref: str,
    *,
    image_size: int | None = None,
    num_classes: int = 91,
    latency: Path | None = None,
) -> None:
    """Prints parameters and multiply-adds, part by part, beside what was published.

    Args:
        ref: any reference to an architecture.
        image_size: side of the input in pixels; the architecture's own by default.
        num_classes: background counts.
        latency: a device's table, for the time of one picture there.
    """
    reference = parse(ref)
    genome = reference.genome()
    if image_size is not None:
        genome = genome.scaled(input_size=image_size)
    times = None if latency is None else read_table(latency)
    if times is not None:
        times.cover([genome], num_classes)
    counted = count(genome, num_classes=num_classes, latency=times)
    table = Table(title=f"{ref} at {counted.image_size} px", title_justify="left")
    for name in ("part", "kind", "type"):
        table.add_column(name)
    for name in ("level", "channels", "size", "params", "multiply-adds"):
        table.add_column(name, justify="right")
    for row in counted.table:
        table.add_row(
            row.name,
            row.kind,
            row.type,
            str(row.level),
            str(row.channels),
            str(row.size),
            f"{row.params:,}",
            f"{row.macs / 1e6:,.1f} M",
        )
    console.print(table)
    console.print(
        f"backbone {counted.backbone_params:,} parameters, "
        f"{counted.backbone_macs / 1e9:.3f} G multiply-adds",
        f"all      {counted.params:,} parameters, {counted.macs / 1e9:.3f} G multiply-adds, "
        f"{num_classes} classes with background",
    )
    if times is not None:
        console.print(f"latency  {counted.latency_ms:.2f} ms by the table of {times.conditions}")
    if reference.kind == "zoo":
        _published(ref)


def _published(name: str) -> None:
    entry = zoo.entry(name)
    params = f"{entry.published_params / 1e6:g} M" if entry.published_params else "not stated"
    macs = f"{entry.published_macs / 1e9:g} G" if entry.published_macs else "not stated"
    console.print(f"published: {params} parameters, {macs} multiply-adds ({entry.source})")
    if entry.note:
        console.print(f"note: {entry.note}")
