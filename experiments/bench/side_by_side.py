"""Real training side by side: SpineNet-49 here, torchvision's RetinaNet with a ResNet-18-FPN there.

    OMP_NUM_THREADS=1 python experiments/bench/side_by_side.py --data DIR --out DIR2 --seconds 1800

Both from scratch, on the same pixels of a COCO folder, for the same seconds on one thread each:
SpineNet-49 at a quarter of its width by this toolkit's loop, and a ResNet-18-FPN under
torchvision's class by a loop like its references', narrowed until its multiply-adds are those of
the other within a tenth.  Its head is that of `retinanet_resnet50_fpn_v2`: group norms of eight
channels, GIoU.  Anchors, post-processing, batch, optimiser, schedule, mirroring and precision are
the same.

Each is tried with the five rates of RATES for a quarter of the seconds on `train` without a
hold-out, which is taken in blocks of neighbouring files, and takes the one with the best AP50 on
that hold-out.  Then all of `train`, three seeds, judged on `val` along the way by one judge.
Seconds are those of training, loading included; judging doesn't count.  An image's seconds are
measured first, both at once, so that the schedule ends with the time; what it came to stands in
the rows.  For that, what is called an epoch here is a portion of one: PORTION steps.

`rows.jsonl`, `table.md` and `curves.svg` are written into DIR2; what is in it already
isn't run again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from narrow_retinanet import Theirs, first_width, macs, reference_epochs
from torch import nn

from nas.data.cache import PixelCache
from nas.data.coco import Split, load_split
from nas.data.holdout import holdout, subset
from nas.data.settings import DataSettings
from nas.evaluation.coco import evaluate
from nas.evaluation.predict import predict_split
from nas.files import write_text
from nas.genome import Genome
from nas.models import build
from nas.report.intervals import mean_interval
from nas.training.batches import recipe_batches
from nas.training.context import Batches
from nas.training.loop import train
from nas.training.numerics import autocast_dtype, set_numerics
from nas.training.recipes import resolve
from nas.training.settings import RecipeSettings
from nas.training.step import NotFinite
from search_spaces.spinenet.listing import SpineNetDeploySettings, genome_from_listing
from search_spaces.spinenet.zoo import SPINENET_49_ROWS

OURS, THEIRS = "SpineNet-49", "ResNet-18-FPN"
RATES = (7.5e-4, 1.5e-3, 3e-3, 6e-3, 1.2e-2)
"""Learning rates that both are tried with."""
SEEDS = 3
TRIAL_SHARE = 0.25
"""Of the seconds, that a trial of a rate has."""
TRIAL_SEED = 1_000_003
"""Of the trials: no seed of the comparison."""
POINTS = 12
"""Times that a training is judged, at most."""
HEAD_WIDTH = 64
TIMED = 480
"""Images from whose second epoch a training's seconds are foreseen."""
PORTION = 32
"""Steps, about, of what is an epoch to the schedule."""


class Training(NamedTuple):
    """One training.

    Attributes:
        name: OURS or THEIRS.
        seed: of weights, order and mirroring; rate: peak of the schedule; epochs: its length in
            portions.
        on_holdout: whether it is judged on a hold-out of `train` once, or on `val` along the way.
        given: the command line.
    """

    name: str
    seed: int
    rate: float
    epochs: int
    on_holdout: bool
    given: argparse.Namespace

    @property
    def path(self) -> Path:
        """Where its rows are written."""
        kind = f"rate{self.rate:g}" if self.on_holdout else f"seed{self.seed}"
        return Path(self.given.out) / f"{self.name}-{kind}.jsonl"

    @property
    def recipe(self) -> RecipeSettings:
        """What both are trained by."""
        given = {"precision": self.given.precision, "threads": 1, "bn_momentum": 0.1}
        return resolve("short", {"epochs": self.epochs, "lr": self.rate, **given})


class Portions:
    """Batches whose epochs are a part of each pass, so that a training may end within one."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.count = max(1, len(batches) // PORTION)

    def __len__(self) -> int:
        """Steps of a portion; what is left of a pass isn't shown."""
        return len(self.batches) // self.count

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        """The batches of a portion, from `start_step` on."""
        number, part = divmod(epoch, self.count)
        whole = self.batches.epoch(number, start_step=part * len(self) + start_step)
        return islice(whole, len(self) - start_step)


def genome_of(size: int) -> Genome:
    """SpineNet-49 at a quarter of its width, its anchors begin at twice the stride."""
    deploy = SpineNetDeploySettings(anchor_size=2.0, input_size=size)
    whole = genome_from_listing(SPINENET_49_ROWS, deploy, OURS)
    return whole.scaled(width=0.25, alpha=0.25, head_width=HEAD_WIDTH)


def costs(classes: int, size: int, first: int) -> dict[str, tuple[float, float]]:
    """Multiply-adds and parameters of both, by name.

    Raises:
        SystemExit: they differ by more than a tenth.
    """
    models = {
        OURS: build(genome_of(size), classes),
        THEIRS: Theirs(first, classes, genome_of(size)),
    }
    found = {
        name: (macs(model, size), float(sum(weight.numel() for weight in model.parameters())))
        for name, model in models.items()
    }
    ratio = found[THEIRS][0] / found[OURS][0]
    for name, (operations, weights) in found.items():
        print(f"{name}: {operations / 1e6:.1f} M multiply-adds, {weights / 1e6:.2f} M parameters")
    if not 0.9 <= ratio <= 1.1:
        raise SystemExit(f"--size {size}: no width of the ResNet has as many multiply-adds")
    return found


def prepared(
    training: Training, limit: int | None = None
) -> tuple[nn.Module, Iterator[float], Split, PixelCache, int]:
    """The model, its portions' seconds, what judges it with pixels, and a portion's images.

    Args:
        training: what is to be trained.
        limit: images to train on, at most.
    """
    given, recipe = training.given, training.recipe
    set_numerics(1)
    whole, settings = load_split(given.data, "train"), DataSettings()
    if training.on_holdout:
        fit, judge = holdout(whole, settings, seed=0)
    else:
        fit, judge = whole, load_split(given.data, "val", categories=whole.categories)
    fit = subset(fit, limit, seed=0)
    rule = genome_of(given.size).input.resize
    pixels, seen = (PixelCache.open(part, given.size, rule) for part in (fit, judge))
    batches = Portions(recipe_batches(recipe, pixels, fit, training.seed))
    torch.manual_seed(training.seed)
    classes, images = 1 + len(whole.categories), len(batches) * recipe.batch_size
    if training.name == THEIRS:
        other = Theirs(given.first, classes, genome_of(given.size))
        return other, reference_epochs(other, batches, recipe), judge, seen, images
    model = build(genome_of(given.size), classes)
    epochs = train(model, batches, recipe, seed=training.seed)
    return model, (epoch.seconds for epoch in epochs), judge, seen, images


def train_one(training: Training) -> list[dict[str, Any]]:
    """Trains, judges, and writes the rows in one piece."""
    model, epochs, judge, pixels, images = prepared(training)
    every = training.epochs if training.on_holdout else math.ceil(training.epochs / POINTS)
    fixed: dict[str, Any] = {"name": training.name, "seed": training.seed, "lr": training.rate}
    spent = 0.0
    rows: list[dict[str, Any]] = []
    try:
        for number, seconds in enumerate(epochs, start=1):
            spent += seconds
            if number % every and number != training.epochs:
                continue
            kind = autocast_dtype(training.recipe.precision)
            scores = evaluate(judge, predict_split(model, pixels, judge, precision=kind))
            part = {"portion": number, "seconds": spent, "images": number * images}
            rows.append({**fixed, **part, "ap": scores.ap, "ap50": scores.ap50})
    except NotFinite as error:
        print(f"{training.path.name}: {error}")
        part = {"portion": 0, "seconds": spent, "images": 0}
        rows.append({**fixed, **part, "ap": 0.0, "ap50": 0.0})
    write_text(training.path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def seconds_per_image(name: str, given: argparse.Namespace) -> float:
    """What training takes, from a short one."""
    training = Training(name, TRIAL_SEED, RATES[0], 2, True, given)
    _, epochs, _, _, images = prepared(training, TIMED)
    return list(epochs)[-1] / images


def portion_images(given: argparse.Namespace, on_holdout: bool) -> int:
    """Images of what is an epoch to the schedule, of either detector."""
    return prepared(Training(OURS, TRIAL_SEED, RATES[0], 1, on_holdout, given))[-1]


def lengths(given: argparse.Namespace) -> dict[str, list[int]]:
    """Portions of a trial and of a training that fill their seconds, by name; kept in a file."""
    path = Path(given.out) / "lengths.json"
    if not path.is_file():
        names, found = (OURS, THEIRS), {}
        with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
            each = list(pool.map(seconds_per_image, names, [given] * len(names)))
        trial, whole = (portion_images(given, part) for part in (True, False))
        for name, seconds in zip(names, each, strict=True):
            lasts = (
                TRIAL_SHARE * given.seconds / (trial * seconds),
                given.seconds / (whole * seconds),
            )
            found[name] = [max(1, round(portions)) for portions in lasts]
        write_text(path, json.dumps(found) + "\n")
    known: dict[str, list[int]] = json.loads(path.read_text())
    return known


def train_missing(trainings: Sequence[Training], workers: int) -> list[dict[str, Any]]:
    """Trains what isn't there yet, side by side, and returns the rows of all."""
    missing = [training for training in trainings if not training.path.is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [pool.submit(train_one, training) for training in missing]
        for number, done in enumerate(as_completed(waiting), start=1):
            row = done.result()[-1]
            print(
                f"{number}/{len(waiting)} {row['name']} rate {row['lr']:g} seed {row['seed']}: "
                f"AP50 {row['ap50']:.3f} after {row['seconds']:.0f} s",
                flush=True,
            )
    return [json.loads(line) for t in trainings for line in t.path.read_text().splitlines()]


def best_rates(trials: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The rate of each with which it found most on the hold-out."""
    scores: dict[str, dict[float, float]] = {}
    for row in trials:
        scores.setdefault(row["name"], {})[row["lr"]] = row["ap50"]
    for name, found in scores.items():
        print(name, ", ".join(f"{rate:g}: {score:.3f}" for rate, score in sorted(found.items())))
    return {name: max(found, key=found.__getitem__) for name, found in scores.items()}


def table(rows: Sequence[dict[str, Any]], cost: dict[str, tuple[float, float]]) -> str:
    """What each came to at its end: mean ± deviation over seeds, and what it took."""
    lines = [
        "| detector | M MACs | M parameters | rate | images | images/s | seconds | AP | AP50 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (operations, weights) in cost.items():
        ends = [own[-1] for own in by_seed(rows, name)]
        cells = [
            name,
            f"{operations / 1e6:.1f}",
            f"{weights / 1e6:.2f}",
            f"{ends[0]['lr']:g}",
            str(ends[0]["images"]),
            f"{statistics.fmean(end['images'] / (end['seconds'] or math.inf) for end in ends):.1f}",
            f"{statistics.fmean(end['seconds'] for end in ends):.0f}",
        ]
        for score in ("ap", "ap50"):
            values = [end[score] for end in ends]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.3f}{spread}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """The difference in AP at the end with its interval over paired seeds, in plain words."""
    pairs = zip(by_seed(rows, OURS), by_seed(rows, THEIRS), strict=True)
    mean, low, high = mean_interval([ours[-1]["ap"] - theirs[-1]["ap"] for ours, theirs in pairs])
    word = "not distinguishable" if low <= 0 <= high else "distinguishable"
    return f"{OURS} - {THEIRS}: AP {mean:+.3f}, 95 % over seeds {low:+.3f} to {high:+.3f}: {word}"


def by_seed(rows: Sequence[dict[str, Any]], name: str) -> list[list[dict[str, Any]]]:
    """The rows of a detector, seed by seed, each in the order of time."""
    own = [row for row in rows if row["name"] == name]
    return [
        [row for row in own if row["seed"] == seed] for seed in sorted({r["seed"] for r in own})
    ]


def draw(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """AP and AP50 on `val` against seconds of training, a line for each seed."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharex=True, layout="constrained")
    for axis, score, title in zip(axes, ("ap", "ap50"), ("AP", "AP50"), strict=True):
        for name, colour in ((OURS, "tab:blue"), (THEIRS, "tab:orange")):
            for number, own in enumerate(by_seed(rows, name)):
                seconds, values = zip(*((r["seconds"], r[score]) for r in own), strict=True)
                label = None if number else name
                axis.plot(seconds, values, ".-", color=colour, alpha=0.7, label=label)
        axis.set(xlabel="seconds of training", ylabel=f"{title} on val", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(out / "curves.svg")
    plt.close(figure)


def parsed() -> argparse.Namespace:
    """The command line; a folder that was begun with another one is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1800.0, help="of each training")
    parser.add_argument("--workers", type=int, default=1, help="processes, a thread each")
    parser.add_argument("--size", type=int, default=128, help="side of the input in pixels")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = {"seconds": given.seconds, "size": given.size, "precision": given.precision}
    path = given.out / "settings.json"
    if path.is_file() and json.loads(path.read_text()) != wanted:
        raise SystemExit(f"{path}: was begun with {path.read_text().strip()}; name another --out")
    write_text(path, json.dumps(wanted) + "\n")
    return given


def main() -> None:
    """Trains what is missing, prints and writes the table and the picture."""
    given = parsed()
    set_numerics(1)
    whole = load_split(given.data, "train")
    classes = 1 + len(whole.categories)
    given.first = first_width(classes, genome_of(given.size))
    cost = costs(classes, given.size, given.first)
    portions = lengths(given)
    trials = [
        Training(name, TRIAL_SEED, rate, portions[name][0], True, given)
        for rate in RATES
        for name in (OURS, THEIRS)
    ]
    rates = best_rates(train_missing(trials, given.workers))
    trainings = [
        Training(name, seed, rates[name], portions[name][1], False, given)
        for seed in range(SEEDS)
        for name in (OURS, THEIRS)
    ]
    rows = train_missing(trainings, given.workers)
    write_text(given.out / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    text = f"{table(rows, cost)}\n\n{verdict(rows)}\n"
    write_text(given.out / "table.md", text)
    draw(rows, given.out)
    print(text)


if __name__ == "__main__":
    main()
