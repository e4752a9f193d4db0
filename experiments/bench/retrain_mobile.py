"""Retrains what each arm of a mobile search chose, and SSDlite, alike; compares them on `val`.

    python experiments/bench/retrain_mobile.py runs/mobile --data DIR --out DIR2

The comparison: the best of the controller's arm and of the uniform arm, after re-evaluation, and
SSDlite-MobileNetV3, all at the search's proxy scale, which should change the input alone.  What
they have in common is the latency that the search allowed, not multiply-adds; both stand in the
table, latency as measured here by ONNX Runtime, one thread, interleaved rounds.  Each is tried
with every learning rate of RATES in one trial of the search's length, judged on the hold-out, and
takes its best.  Then all of `train`, with so many epochs that at least `length` times a trial's
photos are seen, paired seeds, judged on `val` by the last weights, AP50.  The difference has a
95 % interval over seeds (Student's t) and one over images (block bootstrap).  Where an interval
holds 0 the text says so.  What is in DIR2 already isn't run again.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import onnx
import torch
from latency_model import settle
from retraining import choices, compared, parsed, search_of, stretched, tell

from nas.config.loading import load_run
from nas.config.schema import SearchConfig
from nas.cost.latency.runner import time_model
from nas.data.coco import load_split
from nas.formats.onnx.export import traced
from nas.genome import Genome
from nas.models import build
from nas.runs.folder import Run
from nas.training.recipes import resolve
from proxies.training import TrainingProxy
from search_spaces import zoo

RATES = (1.5e-3, 3e-3, 6e-3)
"""Learning rates that every detector is tried with."""
TRIAL_SEED = 1_000_003
"""Of the trials that choose a rate: no seed of the comparison."""
ROUNDS = 5
"""Of timing; in each every detector has its turn."""


def rate_trial(path: Path, genome_json: str, config_path: Path, data: Path, lr: float) -> float:
    """AP50 on the hold-out after one trial with this rate; written to `path`."""
    config = load_run(config_path)
    assert isinstance(config, SearchConfig)
    written = config.proxy.recipe.model_dump(exclude={"base"})
    recipe = resolve(config.proxy.recipe.base, {**written, "lr": lr})
    as_it_is = config.proxy.model_copy(update={"recipe": recipe})
    proxy = TrainingProxy(as_it_is, data, config.data, data_seed=config.seed)
    score: float = proxy(Genome.from_json(genome_json), TRIAL_SEED)["ap50"]
    path.write_text(json.dumps({"lr": lr, "ap50": score}) + "\n")
    return score


def best_rates(
    genomes: dict[str, Genome], config_path: Path, data: Path, out: Path, workers: int
) -> dict[str, float]:
    """The rate of RATES that each detector learns best with."""
    wanted = [(name, lr, out / f"{name}-lr{lr:g}.json") for name in genomes for lr in RATES]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [
            pool.submit(rate_trial, path, genomes[name].to_json(), config_path, data, lr)
            for name, lr, path in wanted
            if not path.is_file()
        ]
        for done in waiting:
            done.result()
    scores: dict[str, dict[float, float]] = {}
    for name, lr, path in wanted:
        scores.setdefault(name, {})[lr] = json.loads(path.read_text())["ap50"]
    for name, found in scores.items():
        print(name, ", ".join(f"{lr:g}: {score:.3f}" for lr, score in found.items()))
    return {name: max(found, key=found.__getitem__) for name, found in scores.items()}


def latencies(genomes: dict[str, Genome], classes: int) -> dict[str, str]:
    """Median and range over rounds of each detector's time, raw outputs, by ONNX Runtime."""
    times: dict[str, list[float]] = {name: [] for name in genomes}
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in genomes}
        for name, genome in genomes.items():
            model = build(genome, classes)
            settle(model, genome.input.size)
            onnx.save(traced(model.eval(), paths[name]), paths[name])
        for _ in range(ROUNDS):
            for name, path in paths.items():
                times[name].append(statistics.median(time_model(str(path), threads=1).runs))
    return {
        name: f"{statistics.median(found):.2f} ms ({min(found):.2f} to {max(found):.2f})"
        for name, found in times.items()
    }


def main() -> None:
    """Trains what is missing, times, prints and writes the table."""
    given = parsed(__doc__)
    run = Run.open(given.run)
    config = search_of(run)
    given.out.mkdir(parents=True, exist_ok=True)
    train = load_split(given.data, "train")
    deployed = {"ssdlite": zoo.genome("ssdlite320-mobilenetv3-large"), **choices(run)}
    rates = best_rates(deployed, run.config, given.data, given.out, given.workers)
    scale = config.proxy.scale.model_dump()
    genomes = {name: genome.scaled(**scale) for name, genome in deployed.items()}
    recipe = stretched(config, len(train), given.length)
    recipes = {name: recipe.model_copy(update={"lr": rates[name]}) for name in genomes}
    rows = compared(genomes, recipes, config, given)
    torch.set_num_threads(1)
    tell(rows, given, latency=latencies(genomes, 1 + len(train.categories)))


if __name__ == "__main__":
    main()
