"""How well a device's table tells the latency of networks that it has never seen.

    python experiments/bench/latency_model.py --out DIR

One run: this machine's table is measured for the mobile space (or given by --table), fresh networks
of the space are drawn with another seed, exported by PyTorch, and timed twice over by the table's
protocol, apart from each other. Against the first times stand the table's, those that multiply-adds
alone would tell, times one factor chosen afterwards, and the second times: what no model can pass.
Then networks that the table tells to be within 5 % of a target, the median, are timed too: how many
of them are near it. Batch norms have seen one batch before the export, so that maps are as in a
trained network, and no number is too small for full speed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from scipy.stats import spearmanr
from torch import nn

from nas.cli.main import main as nas
from nas.cost import DeviceTable, profile, read_table
from nas.cost.latency import runner
from nas.cost.latency.results import DeviceTimes
from nas.formats.onnx.export import traced
from nas.genome import Genome
from nas.genome.plan import lower
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.models import build
from search_spaces.mobile.space import MobileSpace

SEED = 20_000  # the table's networks are drawn with seed 0
NEAR, BAND, DRAWS = 0.05, 0.25, 3000


class Network(NamedTuple):
    """A drawn network, and why it is timed: as one of the fresh ones, or near the target."""

    name: str
    near: bool
    genome: Genome
    told_ms: float
    macs: int


def main() -> None:
    """Measures, draws, exports, times, and tells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="a device's table; measured here without it")
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--near", type=int, default=20)
    parser.add_argument("--target", type=float, help="ms; the median of draws without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--classes", type=int, default=91)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.table or measured(given.out / "table.json", given.classes)
    table = read_table(path)
    assert isinstance(table, DeviceTable), f"{path} is written by hand"
    networks, target, speed = drawn(given, table)
    with tempfile.TemporaryDirectory(prefix="latency-model-") as folder:
        pack = Path(folder)
        export(networks, pack, given.classes)
        first, second = (timed(pack, given.rounds, number) for number in (1, 2))
    rows = [
        {"name": n.name, "near": n.near, "key": n.genome.key, "macs": n.macs, "told_ms": n.told_ms}
        | {"first_ms": first[n.name], "second_ms": second[n.name]}
        for n in networks
    ]
    text = report(rows, target, table, speed)
    print(text)
    (given.out / "networks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (given.out / "table.md").write_text(text)


def measured(path: Path, classes: int) -> Path:
    """This machine's table, by the command that users type."""
    words = ["device", "measure", "--set=space.name=mobile", f"--classes={classes}"]
    started = time.monotonic()
    code = nas([*words, f"--out={path}"])
    if code:
        sys.exit(code)
    print(f"measuring the table took {(time.monotonic() - started) / 60:.1f} min")
    return path


def drawn(given: argparse.Namespace, table: DeviceTable) -> tuple[list[Network], float, float]:
    """The networks, the target in ms, and how many networks the table tells in a second."""
    space, rng = MobileSpace(), random.Random(SEED)
    known = [Counter(one.operators) for one in table.measured if one.whole]
    genomes = [space.sample(rng) for _ in range(DRAWS)]
    started = time.perf_counter()
    told = [table.time_ms(genome, given.classes) for genome in genomes]
    speed = len(genomes) / (time.perf_counter() - started)
    target = given.target or statistics.median(told)
    close = [i for i, ms in enumerate(told) if abs(ms / target - 1) <= NEAR]
    close = [i for i in close if i >= given.networks][: given.near]
    networks = []
    for i in (*range(given.networks), *close):
        assert operators(genomes[i], given.classes) not in known, "a network of the table's own"
        macs = profile(genomes[i], num_classes=given.classes).macs
        networks.append(Network(f"n{i:04d}", i in close, genomes[i], told[i], macs))
    return networks, target, speed


def operators(genome: Genome, classes: int) -> Counter[str]:
    """How often a network has which operator."""
    tape = Tape()
    record_plan(tape, lower(genome), classes)
    return Counter(operator.text for operator in tape.operators)


def export(networks: Sequence[Network], pack: Path, classes: int) -> None:
    """Writes PyTorch's exports as a pack that the runner can time."""
    (pack / "models").mkdir()
    listed = []
    for done, network in enumerate(networks, start=1):
        torch.manual_seed(done)
        model = build(network.genome, classes)
        settle(model, network.genome.input.size)
        path = pack / "models" / f"{network.name}.onnx"
        onnx.save(traced(model.eval(), path), path)
        told = dict(operators(network.genome, classes))
        listed.append({"name": network.name, "whole": True, "operators": told})
        if done % 20 == 0 or done == len(networks):
            print(f"exported {done} of {len(networks)}", flush=True)
    (pack / "pack.json").write_text(json.dumps({"version": runner.VERSION, "pieces": listed}))


def settle(model: Any, size: int) -> None:
    """Gives batch norms the statistics of one batch."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().raw(torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8))


def timed(pack: Path, rounds: int, number: int) -> dict[str, list[float]]:
    """All networks by the protocol, in a process of its own: a time for each round, by name."""
    out = pack / f"times{number}.json"
    words = [sys.executable, runner.__file__, "--device=this machine", f"--pack={pack}"]
    words += [f"--out={out}", f"--rounds={rounds}"]
    print(f"timing all networks, {'first' if number == 1 else 'second'} time")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    times = DeviceTimes.read(out)
    print(f"took {times.minutes} min; {times.disturbed:.1%} of the runs were done again")
    return {one.name: list(one.ms) for one in times.pieces}


def report(rows: list[dict[str, Any]], target: float, table: DeviceTable, speed: float) -> str:
    """Markdown: what tells the first times how well, then those near the target."""
    fresh = [row for row in rows if not row["near"]]
    true = [statistics.median(row["first_ms"]) for row in fresh]
    factor = statistics.median(ms / row["macs"] for row, ms in zip(fresh, true, strict=True))
    ways = {
        "the table": [row["told_ms"] for row in fresh],
        "multiply-adds alone": [factor * row["macs"] for row in fresh],
        "a second measurement": [statistics.median(row["second_ms"]) for row in fresh],
    }
    lines = [
        f"{len(fresh)} fresh networks, {min(true):.1f} to {max(true):.1f} ms, "
        f"on {table.conditions}; {speed:.0f} networks told in a second",
        "",
        f"| told by | median error | 90 % are within | within ±{BAND:.0%} | Spearman |",
        "|---|---|---|---|---|",
    ]
    for name, told in ways.items():
        errors = sorted(abs(one / ms - 1) for one, ms in zip(told, true, strict=True))
        share = sum(error <= BAND for error in errors) / len(errors)
        high = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
        cells = [f"{statistics.median(errors):.1%}", f"{high:.1%}", f"{share:.0%}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {spearmanr(told, true)[0]:.3f} |")
    near = [statistics.median(row["first_ms"]) for row in rows if row["near"]]
    if near:
        hits = sum(abs(ms / target - 1) <= BAND for ms in near)
        lines += [
            "",
            f"Told to be within {NEAR:.0%} of {target:.1f} ms: {len(near)} networks, which take "
            f"{min(near):.1f} to {max(near):.1f} ms; {hits} are within ±{BAND:.0%} of the target.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
