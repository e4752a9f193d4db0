"""Spread of a proxy over architectures and over seeds, for every metric that it returns.

    python experiments/bench/proxy_spread.py spinenet_fod --data DIR --out FILE.jsonl \
        --architectures 6 --seeds 2 --workers 2 --set proxy.recipe.epochs=2

Draws architectures uniformly (in a SpineNet space SpineNet-49 is the first), trains each with
several seeds as a search would, writes one line per trial, and prints the components of variance
of each metric.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from nas.config.loading import load_search
from nas.config.overrides import Override
from nas.genome import Genome
from proxies.reliability import spread
from proxies.training import TrainingProxy
from search_spaces.registry import make_space
from search_spaces.spinenet.listing import genome_from_listing
from search_spaces.spinenet.space import SpineNetSpaceSettings
from search_spaces.spinenet.zoo import SPINENET_49_ROWS

_proxy: TrainingProxy | None = None


def _open(proxy: TrainingProxy) -> None:
    global _proxy
    _proxy = proxy
    proxy.prepare()


def _trial(name: str, genome_json: str, seed: int) -> dict[str, float | str]:
    assert _proxy is not None
    return {"name": name, "seed": seed, **_proxy(Genome.from_json(genome_json), seed)}


def main() -> None:
    """Runs the trials and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architectures", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    given = parser.parse_args()
    overrides = [Override.parse("--set", text) for text in given.sets]
    config = load_search(given.config, overrides)
    space, rng = make_space(config.space), random.Random(config.seed)
    genomes: dict[str, Genome] = {}
    if isinstance(config.space, SpineNetSpaceSettings):
        deployed = genome_from_listing(SPINENET_49_ROWS, config.space.deploy, "spinenet-49")
        genomes["spinenet-49"] = deployed
    for number in range(len(genomes), given.architectures):
        genomes[f"random-{number}"] = space.sample(rng)
    proxy = TrainingProxy(config.proxy, given.data, config.data, data_seed=config.seed)
    rows = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context, _open, (proxy,)) as pool:
        waiting = [
            pool.submit(_trial, name, genome.to_json(), seed)
            for seed in range(given.seeds)
            for name, genome in genomes.items()
        ]
        with given.out.open("w") as file:
            file.write(json.dumps({"command": given.sets, "config": given.config}) + "\n")
            for done in as_completed(waiting):
                rows.append(done.result())
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
                print(f"{len(rows)}/{len(waiting)}", rows[-1], flush=True)
    for metric in ("ap50", "ap", "loss"):
        scores = {n: [float(r[metric]) for r in rows if r["name"] == n] for n in genomes}
        found = spread(scores)
        print(
            f"{metric}: mean {found.mean:.4f}, over architectures {found.architectures:.4f}, "
            f"over seeds {found.seeds:.4f}, reliability {found.reliability:.2f}"
        )


if __name__ == "__main__":
    main()
