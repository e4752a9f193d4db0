"""Replays searches on NAS-Bench-Macro, where every network's accuracy is known.

    python experiments/bench/nas_bench_macro.py TABLE --seeds 400 --out DIR

TABLE is the benchmark's `cifar10.json`: 3^8 codes of MobileNet-like networks, each trained three
times on CIFAR-10. An evaluation returns one of the three accuracies, drawn by a hash of (run seed,
network, repeat); a repeat costs nothing. The incumbent is the code with the highest *observed*
accuracy; its regret is the best mean accuracy minus its own. Written: the regret after 50, 100 and
200 evaluations, the evaluations until the incumbent is a true top-10 code for the first time, and
the noise floor, what an exhaustive search would end at.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.settings import NO_CONTROL
from nas.study.trial import trial_seed

LAYERS, AFTER, TOP = 8, (50, 100, 200), 10
ORDER = ("random", "reinforce", "evolution", "ppo", "predictor")


class Table:
    """The benchmark as an evaluator."""

    def __init__(self, path: Path) -> None:
        rows = json.loads(path.read_text())
        self.runs = {code: tuple(map(float, row["test_acc"])) for code, row in rows.items()}
        self.mean = {code: float(row["mean_acc"]) for code, row in rows.items()}
        self.best = max(self.mean.values())
        self.top = set(sorted(self.mean, key=lambda code: -self.mean[code])[:TOP])

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        runs = self.runs["".join(str(digit) for digit in candidate.values())]
        return runs[seed % len(runs)]


def one_search(path: Path, controller: str, budget: int, seed: int) -> dict[str, Any]:
    """One run's regrets and its first hit (None if it has none)."""
    table = Table(path)
    space = ChoiceSpace({f"layer{i}": [0, 1, 2] for i in range(LAYERS)})
    found = search(space, table, controller, budget=budget, seed=seed, settings=NO_CONTROL)
    best, hit, regrets = (float("-inf"), ""), None, []
    for count, record in enumerate(found.trials, start=1):
        code = "".join(str(index) for index in record.code)
        best = max(best, (record.reward or 0.0, code), key=lambda pair: pair[0])
        regrets.append(table.best - table.mean[best[1]])
        if hit is None and best[1] in table.top:
            hit = count
    after = {str(n): regrets[n - 1] for n in AFTER if n <= len(regrets)}
    return {"controller": controller, "seed": seed, "hit": hit, "regret": after}


def noise_floor(table: Table, seeds: int) -> tuple[float, float]:
    """Mean regret, and share of top-10 incumbents, of exhaustive search by noisy accuracy."""
    space = ChoiceSpace({f"layer{i}": [0, 1, 2] for i in range(LAYERS)})
    keys = {code: space.key(space.decode(tuple(map(int, code)))) for code in table.runs}
    regrets, hits = [], []
    for seed in range(seeds):
        seen = {c: table.runs[c][trial_seed(seed, k, 0) % 3] for c, k in keys.items()}
        best = max(seen, key=lambda code: seen[code])
        regrets.append(table.best - table.mean[best])
        hits.append(best in table.top)
    return statistics.fmean(regrets), statistics.fmean(hits)


def bootstrap(values: np.ndarray, statistic: Any) -> tuple[float, float, float]:
    """A statistic over seeds with its 95 % percentile interval."""
    rng = np.random.default_rng(0)
    draws = statistic(values[rng.integers(0, len(values), (2000, len(values)))], axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(statistic(values)), float(low), float(high)


def table_of(rows: list[dict[str, Any]], budget: int) -> str:
    """Markdown: a row per controller, then each neighbouring pair's difference."""
    shown = [n for n in AFTER if n <= budget]
    titles = [*(f"mean regret after {n}" for n in shown), "median first hit of the top 10"]
    lines = [
        "| controller | seeds | " + " | ".join(titles) + " |",
        "|---" * (2 + len(titles)) + "|",
    ]
    regrets: dict[str, dict[int, np.ndarray]] = {}
    for name in [name for name in ORDER if any(row["controller"] == name for row in rows)]:
        own = sorted((r for r in rows if r["controller"] == name), key=lambda r: r["seed"])
        regrets[name] = {n: np.array([row["regret"][str(n)] for row in own]) for n in shown}
        means = [bootstrap(values, np.mean) for values in regrets[name].values()]
        # A run without a hit counts as one above the budget: the median is right below it.
        hits = np.array([row["hit"] or budget + 1 for row in own], dtype=float)
        hit = "{:.0f} ({:.0f}–{:.0f})".format(*bootstrap(hits, np.median))
        cells = [name, str(len(own)), *("{:.3f} ({:.3f}–{:.3f})".format(*mean) for mean in means)]
        cells.append(hit.replace(f"{budget + 1}", f"> {budget}"))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| regret less regret, paired over seeds | " + " | ".join(titles[:-1]) + " |",
        "|---" * (1 + len(shown)) + "|",
    ]
    for worse, better in itertools.pairwise(regrets):
        less = [bootstrap(regrets[worse][n] - regrets[better][n], np.mean) for n in shown]
        cells = ["{:+.3f} ({:+.3f} to {:+.3f})".format(*one) for one in less]
        lines.append(f"| {worse} − {better} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs every search, prints and writes the table and one line per search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--controllers", default=",".join(ORDER))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    os.environ["OMP_NUM_THREADS"] = "1"  # a worker has a core, not all of them
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        for name in given.controllers.split(","):
            work = partial(one_search, given.table, name, given.budget)
            rows += pool.map(work, range(given.seeds), chunksize=5)
    text = table_of(rows, given.budget)
    regret, share = noise_floor(Table(given.table), 50)
    text += (
        f"\n\nNoise floor (every code, 50 seeds): regret {regret:.3f}, {share:.0%} in the top 10.\n"
    )
    print(text)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "table.md").write_text(text)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (given.out / "searches.jsonl").write_text(lines)


if __name__ == "__main__":
    main()
