"""Regret of every controller on the SpineNet space, with a made-up reward.

    python experiments/bench/spinenet_synthetic.py --seeds 20 --budget 200 --out DIR

The reward is a flow through the graph, which the space's features (counts of levels, types,
resamplings, depth) don't hold. Both stem blocks emit a signal of 1. A block receives the sum over
its inputs of their signal, halved, times 0.9 for each octave of upsampling or 0.8 for each of
downsampling, and gives it on, times 0.97 if it is a residual block. The reward is the mean over the
five outputs of log2(signal) plus 0.3 times the number of different levels that lie upstream, and
noise with a standard deviation of 0.3 drawn from the trial's seed. Regret is against the best
noiseless reward that any search, or an evolution of 5,000 noiseless trials, has seen. Written: a
table, one line per search, and the curves of mean regret with a standard error to either side.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nas.controllers import ControllerSettings
from nas.genome import Genome
from nas.genome.listing import resolve
from nas.searching import search
from nas.study.settings import NO_CONTROL
from search_spaces.spinenet.space import SpineNetSpace

ORDER = ("random", "reinforce", "ppo", "evolution", "predictor")
NOISE, AFTER = 0.3, (25, 50, 100, 200, 400)


def flow(genome: Genome) -> float:
    """The noiseless reward."""
    blocks, taps = resolve(genome)
    signal: dict[str, float] = {}
    upstream: dict[str, frozenset[int]] = {}
    for name, block in blocks.items():
        inputs = [edge for edge in block.inputs if edge.block in signal]
        if block.rank is None or not inputs:
            signal[name], upstream[name] = 1.0, frozenset({block.level})
            continue
        received = 0.0
        for edge in inputs:
            octaves = block.level - blocks[edge.block].level
            received += 0.5 * signal[edge.block] * (0.8**octaves if octaves > 0 else 0.9**-octaves)
        signal[name] = received * (0.97 if block.op.type == "residual" else 1.0)
        upstream[name] = frozenset({block.level}).union(*(upstream[e.block] for e in inputs))
    outputs = [tap.block for tap in taps]
    return statistics.fmean(math.log2(signal[name]) + 0.3 * len(upstream[name]) for name in outputs)


def noisy(genome: Genome, seed: int) -> float:
    """What a search sees."""
    return flow(genome) + random.Random(seed).gauss(0.0, NOISE)


def one_search(controller: str, budget: int, seed: int) -> dict[str, Any]:
    """The noiseless reward of the incumbent, the best by noisy reward, after each trial."""
    algorithm = ControllerSettings(name=controller)
    found = search(SpineNetSpace(), noisy, algorithm, budget=budget, seed=seed, settings=NO_CONTROL)
    best, values = (-math.inf, 0.0), []
    for record in found.trials:
        if (record.reward or 0.0) > best[0]:
            best = (record.reward or 0.0, flow(record.candidate))
        values.append(best[1])
    return {"controller": controller, "seed": seed, "incumbent": values}


def ceiling() -> float:
    """The best noiseless reward of a long evolution that sees no noise."""
    evolution = ControllerSettings(name="evolution", options={"population": 100, "sample": 25})
    space = SpineNetSpace()
    found = search(
        space, lambda g, seed: flow(g), evolution, budget=5000, seed=0, settings=NO_CONTROL
    )
    assert found.best is not None
    return flow(found.best.candidate)


def table_of(rows: list[dict[str, Any]], best: float) -> str:
    """Markdown: mean regret and its standard error over seeds."""
    longest = max(len(row["incumbent"]) for row in rows)
    shown = [n for n in AFTER if n <= longest]
    lines = [
        "| controller | seeds | " + " | ".join(f"regret after {n}" for n in shown) + " |",
        "|---" * (2 + len(shown)) + "|",
    ]
    for name in [name for name in ORDER if any(row["controller"] == name for row in rows)]:
        own = [row["incumbent"] for row in rows if row["controller"] == name]
        cells = [name, str(len(own))]
        for n in shown:
            regrets = [best - values[min(n, len(values)) - 1] for values in own]
            error = statistics.stdev(regrets) / math.sqrt(len(regrets))
            cells.append(f"{statistics.fmean(regrets):.2f} ± {error:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + f"\n\nBest noiseless reward: {best:.3f}\n"


def draw(rows: list[dict[str, Any]], best: float, path: Path) -> None:
    """Mean regret against trials, a line a controller."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in [name for name in ORDER if any(row["controller"] == name for row in rows)]:
        regret = best - np.array([row["incumbent"] for row in rows if row["controller"] == name])
        mean, error = regret.mean(0), regret.std(0, ddof=1) / math.sqrt(len(regret))
        trials = np.arange(1, len(mean) + 1)
        (line,) = axes.plot(trials, mean, label=name)
        axes.fill_between(trials, mean - error, mean + error, color=line.get_color(), alpha=0.2)
    axes.set(xlabel="trials", ylabel="mean regret of the incumbent", xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Runs every search, prints and writes the table, one line per search, and the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--controllers", default=",".join(ORDER))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    os.environ["OMP_NUM_THREADS"] = "1"  # a worker has a core, not all of them
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        long = pool.submit(ceiling)
        for name in given.controllers.split(","):
            rows += pool.map(partial(one_search, name, given.budget), range(given.seeds))
        best = max(long.result(), *(max(row["incumbent"]) for row in rows))
    text = table_of(rows, best)
    print(text)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "table.md").write_text(text)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (given.out / "searches.jsonl").write_text(lines)
        draw(rows, best, given.out / "curves.svg")


if __name__ == "__main__":
    main()
