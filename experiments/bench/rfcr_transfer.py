"""RFCR on and off at three truncation points of a pretrained backbone, trained alike.

    nas device measure --set space.name=mobile --set space.backbone=efficientnet-lite0 \
        --set space.deploy.input_size=160 --classes 32 --out table.json
    python experiments/bench/rfcr_transfer.py --data DIR --table table.json --out DIR2

YOLO-ReT's claim is that a backbone's last blocks have little to transfer, and that RFCR pays for
itself.  Its own MobileNetV2 weights can't be had without a download, so the backbone here is
EfficientNet-Lite0 from its package: whole, without its last block and two of width 192, and with
one block of width 192.  The head is SSDlite's on maps of strides 8, 16 and 32, which it reads
through RFCR or as they are.

All six are trained at 160 px.  Then inputs make up for what a part costs, by the device's table:
without RFCR each cut has the input at which it takes as long as with RFCR at 160 px, and each cut
without RFCR the input at which it takes as long as the whole backbone does.  RFCR itself needs
multiples of 32 px, too coarse for that.  Each training takes so many steps as its arm makes in
`--seconds` of one thread's processor time; see `transfer.py`.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import NamedTuple

from transfer import (
    RATE,
    Arm,
    Row,
    Training,
    lite,
    options_parser,
    rows_of,
    scores_in_words,
    steps_of,
    train_missing,
)

from nas.cost.latency import latency_ms, read_table
from nas.cost.latency.table import LatencyTable
from nas.genome import Genome
from nas.genome.parts import NoNeck
from nas.report.intervals import mean_interval

SIDE = 160
CUTS = {"whole": 16, "cut-14": 14, "cut-12": 12}
"""The last row that is left, of rows 0 to 16; row 12 is the first of width 192."""
WIDTH = 32
"""Channels of RFCR's maps."""
FINEST_STEP = 2
"""Pixels between inputs that are tried."""


class Compared(NamedTuple):
    """An arm, and how it takes part in the comparison."""

    arm: Arm
    cut: str
    rfcr: bool
    like: str  # whose latency it has by its input; empty at 160 px


def detector(cut: str, *, rfcr: bool, side: int = SIDE) -> Genome:
    """Returns Lite0 cut behind a row, with RFCR or without."""
    genome = lite(0, SIDE, last=CUTS[cut], finest=8, rfcr=WIDTH, extras=0, extra_width=None)
    if not rfcr:  # it alone reads the map of stride 4
        levels = {block.id: block.level for block in genome.blocks}
        taps = tuple(tap for tap in genome.taps if levels[tap.block] > 2)
        genome = genome.replace(neck=NoNeck(), taps=taps)
    return genome.scaled(input_size=side)


def side_like(cut: str, target: float, table: LatencyTable, classes: int) -> int:
    """Returns the side at which a cut without RFCR comes nearest to a latency."""

    def error(side: int) -> float:
        return abs(latency_ms(detector(cut, rfcr=False, side=side), table, classes) - target)

    return min(range(SIDE - 32, 2 * SIDE, FINEST_STEP), key=error)


def compared(table: LatencyTable, classes: int) -> list[Compared]:
    """Returns all arms: six at one input, and those whose inputs make latencies equal."""

    def of(cut: str, rfcr: bool, side: int, like: str) -> Compared:
        genome = detector(cut, rfcr=rfcr, side=side)
        arm = Arm(f"{cut}-{'rfcr' if rfcr else 'plain'}-{side}px", genome.to_json())
        return Compared(arm, cut, rfcr, like)

    at_one = [of(cut, rfcr, SIDE, "") for cut in CUTS for rfcr in (False, True)]
    whole = latency_ms(detector("whole", rfcr=False), table, classes)
    equal = []
    for cut in CUTS:
        target = latency_ms(detector(cut, rfcr=True), table, classes)
        equal.append(of(cut, False, side_like(cut, target, table, classes), f"{cut}-rfcr"))
        if cut != "whole":
            equal.append(of(cut, False, side_like(cut, whole, table, classes), "whole-plain"))
    return at_one + equal


def effects(entries: list[Compared], rows: list[Row]) -> str:
    """Returns differences of AP50 over paired seeds, with 95 % intervals."""
    lines = ["| change | at | AP50, 95 % |", "|---|---|---|"]
    at = {(e.cut, e.rfcr, e.like): rows_of(e.arm, rows) for e in entries}

    def add(change: str, place: str, first: list[Row], second: list[Row]) -> None:
        differences = [b["ap50"] - a["ap50"] for a, b in zip(first, second, strict=True)]
        mean, least, most = mean_interval(differences)
        lines.append(f"| {change} | {place} | {mean:+.3f} ({least:+.3f} to {most:+.3f}) |")

    for cut in CUTS:
        with_rfcr = at[cut, True, ""]
        add(f"RFCR, {cut}", f"{SIDE} px", at[cut, False, ""], with_rfcr)
        add(f"RFCR, {cut}", "one latency", at[cut, False, f"{cut}-rfcr"], with_rfcr)
    for cut in list(CUTS)[1:]:
        whole = at["whole", False, ""]
        add(f"{cut} for whole", f"{SIDE} px", whole, at[cut, False, ""])
        add(f"{cut} for whole", "one latency", whole, at[cut, False, "whole-plain"])
    return "\n".join(lines)


def table_of(entries: list[Compared], rows: list[Row], times: dict[str, float]) -> str:
    """Returns a line for each arm, once."""
    lines = ["| arm | latency | steps | MACs | AP50 | AP |", "|---|---|---|---|---|---|"]
    for entry in {e.arm.name: e for e in entries}.values():
        own = rows_of(entry.arm, rows)
        cells = [entry.arm.name, f"{times[entry.arm.name]:.2f} ms", str(own[0]["steps"])]
        cells += [f"{statistics.fmean(row['macs'] for row in own) / 1e6:.0f} M"]
        cells += [scores_in_words(own, metric) for metric in ("ap50", "ap")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, prints and writes the tables."""
    parser = options_parser(__doc__, seeds=3)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--classes", type=int, default=32, help="background counts")
    options = parser.parse_args()
    data, out, workers = options.data, options.out, options.workers
    out.mkdir(parents=True, exist_ok=True)
    device = read_table(options.table)
    entries = compared(device, options.classes)
    arms = list({entry.arm.name: entry.arm for entry in entries}.values())
    steps = steps_of(arms, data, out, seconds=options.seconds, workers=workers)
    trainings = [
        Training(arm, RATE, seed, steps[arm.name], data)
        for seed in range(options.seeds)
        for arm in arms
    ]
    rows = train_missing(trainings, out, workers)
    times = {arm.name: latency_ms(arm.genome, device, options.classes) for arm in arms}
    text = f"{table_of(entries, rows, times)}\n\n{effects(entries, rows)}"
    (out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
