"""Retrains what each arm of a search chose, and SpineNet-49, alike, and compares them on `val`.

    python experiments/bench/retrain_arms.py runs/fod --data DIR --out DIR2 --seeds 5 --length 3

The comparison: the best of the controller's arm and of the uniform
arm, after the second look, and SpineNet-49, each at the search's proxy scale with its width set so
that multiply-adds are within 5 % of SpineNet-49's; all of `train`, the proxy's recipe with so many
epochs that at least `length` times as many photos are seen, paired seeds; AP50 on `val` by the last
weights.  The difference has a
95 % interval over seeds (Student's t) and one over images (block bootstrap).  Where an interval
holds 0 the text says so.  Trainings that are in DIR2 already aren't run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from nas.config import SearchConfig, load_run
from nas.cost import profile
from nas.genome import Genome
from nas.report.intervals import mean_interval
from nas.report.leaderboard import read
from nas.result import result_of
from nas.runs import Run
from search_spaces.spinenet_listing import genome_from_listing
from search_spaces.zoo import SPINENET_49_ROWS

TOLERANCE = 0.05
"""How far the multiply-adds of any two may be apart."""


def candidates(run: Run, config: SearchConfig, classes: int) -> dict[str, Genome]:
    """Both arms' choices and SpineNet-49 at the proxy's scale, with equal multiply-adds."""
    records, objective = read(run.path)
    result = result_of(records, objective)
    deployed = {
        "spinenet-49": genome_from_listing(SPINENET_49_ROWS, config.space.deploy, "spinenet-49")
    }
    for name, arm in (("controller", "controller"), ("uniform", "control")):
        best = result.best_of(arm)  # type: ignore[arg-type]
        if best is None:
            raise SystemExit(f"{run.path}: the {name} arm has no scored trial")
        deployed[name] = Genome.from_json(best.candidate_json)
    scale = config.proxy.scale.model_dump()
    small = {name: genome.scaled(**scale) for name, genome in deployed.items()}
    target = profile(small["spinenet-49"], num_classes=classes).macs
    near = {name: with_macs(genome, target, classes) for name, genome in small.items()}
    macs = [profile(genome, num_classes=classes).macs for genome in near.values()]
    if max(macs) / min(macs) - 1 > TOLERANCE:
        raise SystemExit(f"multiply-adds {min(macs):.4g} to {max(macs):.4g}: no widths are nearer")
    return near


def with_macs(genome: Genome, target: float, classes: int) -> Genome:
    """The genome at the width whose multiply-adds come nearest to ``target``."""

    def distance(factor: float) -> float:
        return abs(profile(genome.scaled(width=factor), num_classes=classes).macs / target - 1)

    best = min([1.0, *np.geomspace(0.4, 2.5, 200).tolist()], key=distance)
    return genome if best == 1.0 else genome.scaled(width=best)


def train_one(
    name: str, genome_json: str, seed: int, config_path: str, data: str, length: float, out: str
) -> dict[str, Any]:
    """One training; writes its detections on `val`, returns its numbers."""
    import torch

    from nas.data.batches import TrainBatches
    from nas.data.cache import PixelCache
    from nas.data.coco import load_split
    from nas.evaluation.coco import evaluate
    from nas.evaluation.predict import predict_split
    from nas.models import build
    from nas.training.loop import train

    config = load_run(Path(config_path))
    assert isinstance(config, SearchConfig)
    genome, split = Genome.from_json(genome_json), load_split(data, "train")
    seen = min(config.proxy.images or len(split), len(split)) * config.proxy.recipe.epochs
    epochs = math.ceil(length * seen / len(split))
    recipe = config.proxy.trial_recipe(epochs / config.proxy.recipe.epochs)
    val = load_split(data, "val", categories=split.categories)
    size, rule = genome.input.size, genome.input.resize
    batches = TrainBatches(
        PixelCache.open(split, size, rule, config.data.cache_dir),
        split,
        recipe.batch_size,
        seed,
        flip=recipe.flip,
        jitter=recipe.jitter,
    )
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = build(genome, 1 + len(split.categories), drop_path=recipe.drop_path)
    for _ in train(model, batches, recipe, seed=seed):
        pass
    found = predict_split(model, PixelCache.open(val, size, rule, config.data.cache_dir), val)
    metrics = evaluate(val, found).to_dict()
    cost = profile(genome, num_classes=1 + len(split.categories))
    arrays = {
        f"{image}/{field}": value for image, one in found.items() for field, value in one.items()
    }
    np.savez_compressed(Path(out) / f"{name}-{seed}.npz", **arrays)
    row = {
        "name": name,
        "seed": seed,
        "epochs": epochs,
        "params": cost.params,
        "macs": cost.macs,
        **metrics,
    }
    (Path(out) / f"{name}-{seed}.json").write_text(json.dumps(row) + "\n")
    return row


def found_in(path: Path) -> dict[int, dict[str, Any]]:
    """Detections as `train_one` wrote them."""
    found: dict[int, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            image, field = name.split("/")
            found.setdefault(int(image), {})[field] = arrays[name]
    return found


def summary(rows: list[dict[str, Any]], data: Path, out: Path) -> str:
    """The table, and each pair of names with both intervals in plain words."""
    from nas.data.coco import load_split
    from nas.evaluation.bootstrap import ap50_difference

    names = sorted({row["name"] for row in rows})
    lines = ["| architecture | seeds | AP | AP50 | AP common | params | MACs |", "|---" * 7 + "|"]
    by_name = {
        n: sorted((r for r in rows if r["name"] == n), key=lambda r: r["seed"]) for n in names
    }
    for name, own in by_name.items():
        cells = [name, str(len(own))]
        for field in ("ap", "ap50", "ap_common"):
            values = [row[field] for row in own]
            cells.append(f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}")
        cells += [f"{own[0]['params'] / 1e6:.3f} M", f"{own[0]['macs'] / 1e6:.1f} M"]
        lines.append("| " + " | ".join(cells) + " |")
    train = load_split(data, "train")
    val = load_split(data, "val", categories=train.categories)
    for first, second in itertools.combinations(names, 2):
        pairs = list(zip(by_name[first], by_name[second], strict=True))
        mean, low, high = mean_interval([a["ap50"] - b["ap50"] for a, b in pairs])
        images = [
            ap50_difference(
                val,
                found_in(out / f"{first}-{a['seed']}.npz"),
                found_in(out / f"{second}-{b['seed']}.npz"),
            )
            for a, b in pairs
        ]
        verdict = "not distinguishable" if low <= 0 <= high else "distinguishable"
        inside = sum(not found.distinguishable for found in images)
        lines.append(
            f"{first} − {second}: AP50 {mean:+.3f}, 95 % over seeds {low:+.3f} to {high:+.3f}: "
            f"{verdict}; over images, {inside} of {len(images)} pairs' block bootstrap intervals "
            "hold 0"
        )
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--length", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    from nas.data.coco import load_split

    run = Run.open(given.run)
    config = load_run(run.config)
    if not isinstance(config, SearchConfig):
        raise SystemExit(f"{given.run}: is a training; give the folder of a search")
    classes = 1 + len(load_split(given.data, "train").categories)
    given.out.mkdir(parents=True, exist_ok=True)
    genomes = candidates(run, config, classes)
    for name, genome in genomes.items():
        (given.out / f"{name}.genome.json").write_text(genome.to_json(indent=1) + "\n")
    wanted = [(name, seed) for seed in range(given.seeds) for name in genomes]
    missing = [(n, s) for n, s in wanted if not (given.out / f"{n}-{s}.json").is_file()]
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                train_one,
                name,
                genomes[name].to_json(),
                seed,
                str(run.config),
                str(given.data),
                given.length,
                str(given.out),
            )
            for name, seed in missing
        ]
        for number, done in enumerate(as_completed(waiting), start=1):
            row = done.result()
            print(f"{number}/{len(waiting)} {row['name']} seed {row['seed']}: {row['ap50']:.3f}")
    rows = [json.loads((given.out / f"{n}-{s}.json").read_text()) for n, s in wanted]
    text = summary(rows, given.data, given.out)
    (given.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
