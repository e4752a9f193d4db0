"""Trainings that compare detectors on `val`: each is written as it ends, then a table of all.

A comparison chooses its detectors from a search's run, gives each the recipe that it is trained by,
and pairs seeds.  What stands in its folder already isn't trained again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nas.config.loading import load_run
from nas.config.schema import SearchConfig
from nas.cost import profile
from nas.data.settings import DataSettings
from nas.genome import Genome
from nas.report.intervals import mean_interval
from nas.runs.folder import Run
from nas.study.result import result_of
from nas.training.recipes import resolve
from nas.training.settings import RecipeSettings

SCORES = ("ap", "ap50", "ap_common", "ap_small", "ap_medium", "ap_large")


class Training(NamedTuple):
    """One training of a comparison: all of `train`, judged on `val` by the last weights.

    Attributes:
        name: of the detector; genome_json: what is trained, as it is.
        seed: of weights, order and augmentation.
        recipe: every number, as a recipe's table.
        data: a COCO folder; cache: settings of its pixels.
        out: folder of the comparison.
    """

    name: str
    genome_json: str
    seed: int
    recipe: Mapping[str, Any]
    data: Path
    cache: Mapping[str, Any]
    out: Path

    @property
    def row(self) -> Path:
        """Where its numbers are written."""
        return self.out / f"{self.name}-{self.seed}.json"

    @property
    def detections(self) -> Path:
        """Where its detections on `val` are written."""
        return self.out / f"{self.name}-{self.seed}.npz"


def parsed(description: str | None) -> argparse.Namespace:
    """The command line of a comparison: run, data, out, seeds, length, workers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--length", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def search_of(run: Run) -> SearchConfig:
    """The settings of a search's run."""
    return search_of_file(run.config)


def search_of_file(path: Path) -> SearchConfig:
    """The settings in a search's YAML."""
    config = load_run(path)
    if not isinstance(config, SearchConfig):
        raise SystemExit(f"{path}: is a training; give a search")
    return config


def choices(run: Run) -> dict[str, Genome]:
    """What each arm of a search chose, as deployed: controller and uniform."""
    records, objective = run.read_search()
    result = result_of(records, objective)
    found = {}
    for name, arm in (("controller", "controller"), ("uniform", "control")):
        best = result.best_of(arm)  # type: ignore[arg-type]
        if best is None:
            raise SystemExit(f"{run.path}: the {name} arm has no scored trial")
        found[name] = Genome.from_json(best.candidate_json)
    return found


def stretched(config: SearchConfig, images: int, length: float) -> RecipeSettings:
    """The proxy's recipe with so many epochs of all `images` that `length` times are seen."""
    proxy = config.proxy
    seen = min(proxy.images or images, images) * proxy.recipe.epochs
    epochs = math.ceil(length * seen / images)
    return proxy.trial_recipe(epochs / proxy.recipe.epochs)


def compared(
    genomes: Mapping[str, Genome],
    recipes: Mapping[str, RecipeSettings],
    config: SearchConfig,
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Writes the detectors, trains what is missing with paired seeds, and returns all rows."""
    for name, genome in genomes.items():
        (given.out / f"{name}.genome.json").write_text(genome.to_json(indent=1) + "\n")
    cache = config.data.model_dump(mode="json")
    trainings = [
        Training(
            name,
            genome.to_json(),
            seed,
            recipes[name].model_dump(mode="json"),
            given.data,
            cache,
            given.out,
        )
        for seed in range(given.seeds)
        for name, genome in genomes.items()
    ]
    return train_missing(trainings, given.workers)


def tell(rows: list[dict[str, Any]], given: argparse.Namespace, **further: Any) -> None:
    """Prints the table and the verdicts, and writes them into the folder."""
    text = f"{table(rows, **further)}\n\n{verdicts(rows, given.data, given.out)}"
    (given.out / "table.md").write_text(text + "\n")
    print(text)


def train_one(training: Training) -> dict[str, Any]:
    """Trains, writes the detections on `val`, and returns (and writes) the numbers."""
    import torch

    from nas.data.cache import PixelCache
    from nas.data.coco import load_split
    from nas.evaluation.coco import evaluate
    from nas.evaluation.predict import predict_split
    from nas.models import build
    from nas.training.batches import recipe_batches
    from nas.training.loop import train

    genome, split = Genome.from_json(training.genome_json), load_split(training.data, "train")
    recipe = resolve("custom", {k: v for k, v in training.recipe.items() if k != "base"})
    val = load_split(training.data, "val", categories=split.categories)
    size, rule = genome.input.size, genome.input.resize
    root = DataSettings.model_validate(training.cache).cache_dir
    seen = PixelCache.open(split, size, rule, root)
    batches = recipe_batches(recipe, seen, split, training.seed)
    torch.set_num_threads(1)
    torch.manual_seed(training.seed)
    model = build(genome, 1 + len(split.categories), drop_path=recipe.drop_path)
    for _ in train(model, batches, recipe, seed=training.seed):
        pass
    found = predict_split(model, PixelCache.open(val, size, rule, root), val)
    cost = profile(genome, num_classes=1 + len(split.categories))
    arrays = {
        f"{image}/{field}": value for image, one in found.items() for field, value in one.items()
    }
    np.savez_compressed(training.detections, allow_pickle=False, **arrays)
    row = {
        "name": training.name,
        "seed": training.seed,
        "epochs": recipe.epochs,
        "lr": recipe.lr,
        "params": cost.params,
        "macs": cost.macs,
        **evaluate(val, found).to_dict(),
    }
    training.row.write_text(json.dumps(row) + "\n")
    return row


def train_missing(trainings: Sequence[Training], workers: int) -> list[dict[str, Any]]:
    """Trains what isn't there yet, side by side, and returns the rows of all."""
    missing = [training for training in trainings if not training.row.is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [pool.submit(train_one, training) for training in missing]
        for number, done in enumerate(as_completed(waiting), start=1):
            row = done.result()
            print(f"{number}/{len(waiting)} {row['name']} seed {row['seed']}: {row['ap50']:.3f}")
    return [json.loads(training.row.read_text()) for training in trainings]


def found_in(path: Path) -> dict[int, dict[str, Any]]:
    """Detections as `train_one` wrote them."""
    found: dict[int, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            image, field = name.split("/")
            found.setdefault(int(image), {})[field] = arrays[name]
    return found


def table(rows: Iterable[Mapping[str, Any]], latency: Mapping[str, str] | None = None) -> str:
    """One line a detector: means ± standard deviation over seeds, and what it costs.

    Args:
        rows: of `train_missing`.
        latency: by detector, in words; without it there is no such column.
    """
    by_name = _by_name(rows)
    titles = ["architecture", "seeds", *SCORES, "params", "MACs", *(["latency"] if latency else [])]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for name, own in by_name.items():
        cells = [name, str(len(own))]
        for field in SCORES:
            values = [row[field] for row in own if row[field] is not None]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.3f}{spread}" if values else "–")
        cells += [f"{own[0]['params'] / 1e6:.3f} M", f"{own[0]['macs'] / 1e6:.1f} M"]
        lines.append("| " + " | ".join([*cells, *([latency[name]] if latency else [])]) + " |")
    return "\n".join(lines)


def verdicts(rows: Iterable[Mapping[str, Any]], data: Path, out: Path) -> str:
    """Each pair of detectors with its interval over seeds and over images, in plain words."""
    from nas.data.coco import load_split
    from nas.evaluation.bootstrap import ap50_difference

    by_name = _by_name(rows)
    train = load_split(data, "train")
    val = load_split(data, "val", categories=train.categories)
    lines = []
    for first, second in itertools.combinations(by_name, 2):
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
            f"- {first} − {second}: AP50 {mean:+.3f}, 95 % over seeds {low:+.3f} to {high:+.3f}: "
            f"{verdict}; over images, {inside} of {len(images)} pairs' block bootstrap intervals "
            "hold 0"
        )
    return "\n".join(lines)


def _by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    ordered = sorted(rows, key=lambda row: (row["name"], row["seed"]))
    return {name: list(own) for name, own in itertools.groupby(ordered, lambda row: row["name"])}
