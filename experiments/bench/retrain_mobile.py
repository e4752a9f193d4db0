"""Retrains what each arm of a mobile search chose, and SSDlite, alike; compares them on `val`.

    python experiments/bench/retrain_mobile.py runs/mobile --data DIR --out DIR2

The comparison: the best of the controller's arm and of the uniform arm, after the second look, and
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

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from retraining import Training, table, train_missing, verdicts

from nas.config import SearchConfig, load_run
from nas.data.coco import load_split
from nas.genome import Genome
from nas.report.leaderboard import read
from nas.result import result_of
from nas.runs import Run
from nas.training.recipes import resolve
from proxies.training import TrainingProxy
from search_spaces import zoo

RATES = (1.5e-3, 3e-3, 6e-3)
"""Learning rates that every detector is tried with."""
TRIAL_SEED = 1_000_003
"""Of the trials that choose a rate: no seed of the comparison."""


def candidates(run: Run) -> dict[str, Genome]:
    """Both arms' choices, and SSDlite, as deployed."""
    records, objective = read(run.path)
    result = result_of(records, objective)
    found = {"ssdlite": zoo.genome("ssdlite320-mobilenetv3-large")}
    for name, arm in (("controller", "controller"), ("uniform", "control")):
        best = result.best_of(arm)  # type: ignore[arg-type]
        if best is None:
            raise SystemExit(f"{run.path}: the {name} arm has no scored trial")
        found[name] = Genome.from_json(best.candidate_json)
    return found


def rate_trial(path: Path, genome_json: str, config_path: Path, data: Path, lr: float) -> float:
    """AP50 on the hold-out after one trial with this rate; written to ``path``."""
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


def main() -> None:
    """Trains what is missing, times, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--length", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    run = Run.open(given.run)
    config = load_run(run.config)
    if not isinstance(config, SearchConfig):
        raise SystemExit(f"{given.run}: is a training; give the folder of a search")
    given.out.mkdir(parents=True, exist_ok=True)
    train = load_split(given.data, "train")
    genomes = candidates(run)
    rates = best_rates(genomes, run.config, given.data, given.out, given.workers)
    scale = config.proxy.scale.model_dump()
    genomes = {name: genome.scaled(**scale) for name, genome in genomes.items()}
    for name, genome in genomes.items():
        (given.out / f"{name}.genome.json").write_text(genome.to_json(indent=1) + "\n")
    seen = min(config.proxy.images or len(train), len(train)) * config.proxy.recipe.epochs
    epochs = math.ceil(given.length * seen / len(train))
    recipe = config.proxy.trial_recipe(epochs / config.proxy.recipe.epochs)
    trainings = [
        Training(
            name,
            genome.to_json(),
            seed,
            {**recipe.model_dump(mode="json"), "lr": rates[name]},
            given.data,
            config.data.model_dump(mode="json"),
            given.out,
        )
        for seed in range(given.seeds)
        for name, genome in genomes.items()
    ]
    rows = train_missing(trainings, given.workers)
    text = f"{table(rows)}\n\n{verdicts(rows, given.data, given.out)}"
    (given.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
