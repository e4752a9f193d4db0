"""What share of a proxy trial loading and evaluation take; the quick evaluator and pycocotools.

    OMP_NUM_THREADS=1 python experiments/bench/evaluation_share.py spinenet_fod mobile_fod \
        --data DIR --out FILE.json

For each search's settings, one trial as a worker runs it: annotations are read and pixels decoded
beforehand, once for a whole search.  The trial tells how long it took to open its data and to
judge; the time that its training batches take is measured by going through them once more without
training.  Then the trained model's detections are judged by both evaluators in turns, and must
give the same numbers.  Without `--data` the built-in scenes are used.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import write

from nas.config.loading import load_search
from nas.config.overrides import Override
from nas.config.schema import SearchConfig
from nas.data.cache import PixelCache
from nas.evaluation.coco import evaluate
from nas.evaluation.metrics import Metrics
from nas.evaluation.predict import predict_split
from nas.genome import Genome
from nas.models import Detector, build
from nas.training.batches import recipe_batches
from proxies.training import TrainingProxy
from search_spaces.registry import make_space
from search_spaces.spinenet.listing import genome_from_listing
from search_spaces.spinenet.space import SpineNetSpaceSettings
from search_spaces.spinenet.zoo import SPINENET_49_ROWS

TARGET = 0.1
"""Of a trial's time, for loading and evaluation together."""


def candidate(config: SearchConfig) -> Genome:
    """SpineNet-49 in its own space, a uniform draw in others."""
    if isinstance(config.space, SpineNetSpaceSettings):
        return genome_from_listing(SPINENET_49_ROWS, config.space.deploy, "spinenet-49")
    return make_space(config.space).sample(random.Random(config.seed))


def measured(config: SearchConfig, data: Path | None, repeats: int) -> dict[str, Any]:
    """Runs one trial, its batches alone, and both evaluators; all times are in seconds."""
    built: list[Detector] = []

    def kept(genome: Genome, num_classes: int, drop_path: float) -> Detector:
        built.append(build(genome, num_classes, drop_path=drop_path))
        return built[-1]

    proxy = TrainingProxy(config.proxy, data, config.data, data_seed=config.seed, build=kept)
    recipe, genome = config.proxy.trial_recipe(), candidate(config)
    source = genome.scaled(**config.proxy.scale.model_dump()).input
    fit, held = proxy.splits()
    pixels, judged = (
        PixelCache.open(split, source.size, source.resize, config.data.cache_dir)
        for split in (fit, held)
    )
    trial = proxy(genome, config.seed)
    batches = recipe_batches(recipe, pixels, fit, config.seed)
    started = time.perf_counter()
    for epoch in range(recipe.epochs):
        for _ in batches.epoch(epoch):
            pass
    batch_seconds = time.perf_counter() - started
    loading = trial["load_seconds"] + batch_seconds
    found = predict_split(built[-1], judged, held, recipe.batch_size)
    return {
        "images": len(fit),
        "images_judged": len(held),
        "epochs": recipe.epochs,
        "classes": len(held.categories),
        "detections": sum(len(one["scores"]) for one in found.values()),
        "trial": {name: trial[name] for name in trial if name.endswith("seconds")},
        "batch_seconds": batch_seconds,
        "share_loading": loading / trial["seconds"],
        "share_evaluation": trial["eval_seconds"] / trial["seconds"],
        "share": (loading + trial["eval_seconds"]) / trial["seconds"],
        **_evaluators(
            lambda: evaluate(held, found, quick=True), lambda: evaluate(held, found), repeats
        ),
    }


def _evaluators(
    quick: Callable[[], Metrics], reference: Callable[[], Metrics], repeats: int
) -> dict[str, float]:
    """Medians of both, taking turns, and of their ratios."""
    ours, theirs = _numbers(quick()), _numbers(reference())
    if not np.allclose(ours, theirs, rtol=0, atol=1e-9, equal_nan=True):
        raise SystemExit("the evaluators differ by more than 1e-9")
    rounds = [(_seconds(quick), _seconds(reference)) for _ in range(repeats)]
    return {
        "quick_seconds": statistics.median(first for first, _ in rounds),
        "pycocotools_seconds": statistics.median(second for _, second in rounds),
        "pycocotools_over_quick": statistics.median(second / first for first, second in rounds),
        "largest_difference": float(np.nanmax(np.abs(ours - theirs))),
    }


def _numbers(metrics: Metrics) -> NDArray[np.float64]:
    """All that both evaluators give: the numbers, then those of each class."""
    numbers = [v for v in vars(metrics).values() if not isinstance(v, dict)]
    classes = [v for own in metrics.per_class.values() for v in (own.boxes, own.ap, own.ap50)]
    return np.array([*numbers, *classes])


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def told(name: str, found: dict[str, Any]) -> str:
    """A few lines for people."""
    verdict = "within" if found["share"] <= TARGET else "over"
    return (
        f"{name}: trial of {found['trial']['seconds']:.1f} s, loading "
        f"{found['share_loading']:.1%}, evaluation {found['share_evaluation']:.1%}, together "
        f"{found['share']:.1%}: {verdict} {TARGET:.0%}\n"
        f"  {found['detections']} detections on {found['images_judged']} images: quick "
        f"{found['quick_seconds']:.3f} s, pycocotools {found['pycocotools_seconds']:.3f} s, "
        f"{found['pycocotools_over_quick']:.1f} times as long"
    )


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5, help="of each evaluator")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    given = parser.parse_args()
    report = {}
    for name in given.configs:
        config = load_search(name, [Override.parse("--set", text) for text in given.sets])
        report[name] = measured(config, given.data, given.repeats)
        print(told(name, report[name]), flush=True)
    write(given.out, {"threads": torch.get_num_threads(), "trials": report})


if __name__ == "__main__":
    main()
