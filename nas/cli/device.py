"""`nas device …`: measures a device, for limits and targets on latency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.dispatch import run_job
from nas.cli.options import (
    ClassesOption,
    ConfigName,
    GenomesOption,
    NetworksOption,
    PiecesOption,
    SetOption,
    TableOption,
    overrides,
)

device_app = typer.Typer(help="Measure a device, for limits and targets on latency_ms.")


@device_app.command("measure")
def device_measure(
    config: ConfigName = None,
    genomes: GenomesOption = None,
    out: TableOption = Path("device.json"),
    pieces: PiecesOption = 240,
    networks: NetworksOption = 40,
    classes: ClassesOption = 91,
    rounds: Annotated[int, typer.Option(min=1, help="Over all pieces; a time for each.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of one operator.")] = 1,
    sets: SetOption = None,
) -> None:
    """Time pieces of a space's networks on this machine, and make its table of times.

    nas device measure --out laptop.json
    nas device measure --set space.name=mobile --classes 21 --out laptop.json
    nas search --set costs.latency_table=laptop.json --target latency_ms=30

    ONNX Runtime on the processor, float32, one picture at a time, from the
    normalisation of the picture to the raw outputs; decoding of boxes and NMS
    are not in it (set overhead_ms in the table). In each round every piece is
    loaded, runs twice to warm up and then three times at least, in an order
    drawn anew. A piece's time is the median over rounds of the rounds' medians;
    the table has the 95th percentile of all runs, too.

    Measure where nothing else runs: a busy machine is pointed out, and runs
    that had to wait for the processor are done again. The table says how far
    off it tells the times of networks that were left out. An existing table is
    added to. docs/latency.md has the details.
    """
    from nas.config.loading import load_search

    options = {"samples": pieces, "networks": networks, "classes": classes}
    settings = load_search(config, overrides(sets))
    how = {"rounds": rounds, "threads": threads}
    run_job("device.measure", "measure", settings, genomes or [], out=out, **options, **how)


@device_app.command("pack")
def device_pack(
    folder: Annotated[Path, typer.Argument(metavar="OUT_DIR", show_default=False)],
    config: ConfigName = None,
    genomes: GenomesOption = None,
    pieces: PiecesOption = 240,
    networks: NetworksOption = 40,
    classes: ClassesOption = 91,
    sets: SetOption = None,
) -> None:
    """Write a folder to copy to a phone or board: small ONNX files, and a runner that times them.

    nas device pack pixel
    nas device pack pixel --set space.name=mobile

    The runner is one file that needs Python, numpy and onnxruntime; it writes one JSON, of which
    nas device add makes the device's table. The protocol is that of nas device measure.
    """
    from nas.config.loading import load_search

    options = {"samples": pieces, "networks": networks, "classes": classes}
    settings = load_search(config, overrides(sets))
    run_job("device.pack", "pack", settings, genomes or [], folder=folder, **options)


@device_app.command("add")
def device_add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.json...", show_default=False)],
    out: TableOption = Path("device.json"),
) -> None:
    """Make a device's table of what a pack's runner wrote there, or add that to the table.

    nas device add times.json --out pixel4.json
    """
    run_job("device.add", "add", files, out=out)
