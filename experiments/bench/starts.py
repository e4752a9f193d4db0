"""What a pretrained start, a larger input and augmentation give, in equal processor time.

    python experiments/bench/starts.py --data DIR --out DIR2 [--seconds 240]

A full 2×2×2 over EfficientNet-Lite0 as a backbone (whole, or cut behind its first block of width
192), the side of the input (two, at which the whole network on the smaller and the cut one on the
larger do about the same multiply-adds), and augmentation (mirrored images alone, or by passes).
Besides, single rows: Lite0 from scratch, Lite1 and Lite2, all whole, on the smaller input, by
passes. All have an SSDlite head on strides 16 and 32 and two coarser maps.

A training takes so many steps as its arm makes in `--seconds` of one thread's processor time, as
told by a few steps before it. Seed 0 is trained at each of three rates; what is best there is
trained with the other seeds too. Scores are those of the hold-out of `train`, by the weights'
average; `val` isn't read. Each training is a line of DIR2/rows.jsonl, written as it ends; those
that stand there aren't run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from nas.cost import profile
from nas.data.settings import DataSettings
from nas.genome import Genome
from nas.report.intervals import mean_interval
from nas.training.recipes import resolve
from nas.training.settings import RecipeSettings
from search_spaces.mobile import MobileSpace

RATES = (1.5e-3, 3e-3, 6e-3)
BATCH = 16
SIDES = (160, 192)
CUT = 12
"""The first row of width 192, of rows 0 to 16."""
WARM_UP, TIMED = 3, 8
"""Steps before those that are timed, and how many these are."""
FACTORS = ("cut", "large", "passes")


class Arm(NamedTuple):
    """What is trained.

    Attributes:
        backbone: which Lite, by its number.
        cut: ends with row `CUT`.
        large: has the larger input.
        passes: is augmented by passes over the data.
        pretrained: starts from the package's weights.
    """

    backbone: int = 0
    cut: bool = False
    large: bool = False
    passes: bool = True
    pretrained: bool = True

    @property
    def name(self) -> str:
        """The arm in words."""
        words = [f"lite{self.backbone}", "cut" if self.cut else "whole", f"{self.side}px"]
        words += ["passes" if self.passes else "mirror", *([] if self.pretrained else ["scratch"])]
        return "-".join(words)

    @property
    def side(self) -> int:
        """Pixels of the input's side."""
        return SIDES[self.large]

    def genome(self) -> Genome:
        """The detector, from the mobile space with this backbone."""
        name = f"efficientnet-lite{self.backbone}"
        space = MobileSpace(backbone=name, input_factors=(1.0,), deploy={"input_size": self.side})
        wanted = {"finest": 16, "rfcr": None, "extras": 2, "extra_width": 0.5, "input": self.side}
        wanted["last"] = CUT if self.cut else max(space.decisions[0].choices)
        return space.decode(tuple(d.choices.index(wanted[d.name]) for d in space.decisions))


CROSSED = tuple(Arm(0, *levels) for levels in itertools.product((False, True), repeat=3))
SINGLE = (Arm(pretrained=False), Arm(1), Arm(2))


class Job(NamedTuple):
    """One training of an arm."""

    arm: Arm
    lr: float
    seed: int
    data: Path
    seconds: float


def recipe_of(arm: Arm, lr: float, epochs: int) -> RecipeSettings:
    """The short recipe with an average of weights, at a rate."""
    changes = {"epochs": epochs, "batch_size": BATCH, "lr": lr, "ema_share": 0.05, "threads": 1}
    return resolve("short", {**changes, "augment_by_passes": arm.passes})


def run(job: Job) -> dict[str, Any]:
    """Trains once, and scores the hold-out."""
    import torch

    from nas.data.cache import PixelCache
    from nas.data.coco import Split, load_split
    from nas.data.holdout import holdout, subset
    from nas.evaluation.coco import evaluate
    from nas.evaluation.predict import predict_split
    from nas.models import Detector, build
    from nas.models.pretrained import start_from
    from nas.models.pretrained.efficientnet_lite import EfficientNetLite
    from nas.training.batches import recipe_batches
    from nas.training.loop import train

    torch.set_num_threads(1)
    genome, settings = job.arm.genome(), DataSettings()
    fit, held = holdout(load_split(job.data, "train"), settings, seed=0)
    classes, size, rule = 1 + len(fit.categories), genome.input.size, genome.input.resize

    def trained(part: Split, epochs: int) -> tuple[Detector, list[float]]:
        """A training, with the processor's time at each step."""
        recipe, ends = recipe_of(job.arm, job.lr, epochs), [time.process_time()]
        side = size * recipe.oversample
        pixels = PixelCache.open(part, side, rule, settings.cache_dir)
        torch.manual_seed(job.seed)
        model = build(genome, classes)
        if job.arm.pretrained:
            file = EfficientNetLite().start_of(genome)
            assert file is not None
            start_from(model, file.path())
        batches = recipe_batches(recipe, pixels, part, job.seed)
        ends = [time.process_time()]
        for _ in train(
            model,
            batches,
            recipe,
            seed=job.seed,
            on_step=lambda *_: ends.append(time.process_time()),
        ):
            pass
        return model, ends

    images = min(len(fit), BATCH * (WARM_UP + TIMED))
    rounds = math.ceil((WARM_UP + TIMED) * BATCH / (images // BATCH * BATCH))
    _, ends = trained(subset(fit, images, seed=0), rounds)
    step = (ends[WARM_UP + TIMED] - ends[WARM_UP]) / TIMED
    steps = max(1, round(job.seconds / step))
    epochs = math.ceil(steps / (len(fit) // BATCH))
    images = min(len(fit), BATCH * round(steps / epochs))
    model, ends = trained(subset(fit, images, seed=0), epochs)
    pixels = PixelCache.open(held, size, rule, settings.cache_dir)
    scores = evaluate(pixels.decodable(held), predict_split(model.eval(), pixels, held))
    cost = profile(genome, num_classes=classes)
    return {
        **{"data": job.data.name, "arm": job.arm.name, "lr": job.lr, "seed": job.seed},
        **{"steps": len(ends) - 1, "epochs": epochs, "images": images},
        **{"cpu_seconds": round(ends[-1] - ends[0], 1), "macs": cost.macs, "params": cost.params},
        **{"ap": scores.ap, "ap50": scores.ap50},
    }


def train_missing(jobs: Sequence[Job], file: Path, workers: int) -> list[dict[str, Any]]:
    """Runs what isn't in the file yet, side by side, and returns the rows of all."""
    rows = read_rows(file)
    missing = [job for job in jobs if key_of(job) not in rows]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run, job) for job in missing]):
            row = done.result()
            with file.open("a") as out:
                out.write(json.dumps(row) + "\n")
            rows[row["arm"], row["lr"], row["seed"]] = row
            print(row["arm"], f"lr {row['lr']:g} seed {row['seed']}: AP50 {row['ap50']:.3f}")
    return [rows[key_of(job)] for job in jobs]


def key_of(job: Job) -> tuple[str, float, int]:
    """What a row is known by."""
    return job.arm.name, job.lr, job.seed


def read_rows(file: Path) -> dict[tuple[str, float, int], dict[str, Any]]:
    """The rows that stand."""
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {(row["arm"], row["lr"], row["seed"]): row for row in rows}


def table(best: dict[Arm, list[dict[str, Any]]]) -> str:
    """One line an arm, at its best rate; then each factor's main effect."""
    lines = ["| arm | lr | steps | MACs | AP50 | AP |", "|---|---|---|---|---|---|"]
    for arm, rows in best.items():
        scores = [
            f"{statistics.fmean(row[metric] for row in rows):.3f} "
            f"({', '.join(f'{row[metric]:.3f}' for row in rows)})"
            for metric in ("ap50", "ap")
        ]
        first = rows[0]
        cells = [arm.name, f"{first['lr']:g}", str(first["steps"]), f"{first['macs'] / 1e6:.0f} M"]
        lines.append("| " + " | ".join([*cells, *scores]) + " |")
    lines += ["", "| factor | AP50, 95 % | AP, 95 % |", "|---|---|---|"]
    for factor in FACTORS:
        effects = []
        for metric in ("ap50", "ap"):
            pairs = [
                high[metric] - low[metric]
                for arm in CROSSED
                if not getattr(arm, factor)
                for low, high in zip(best[arm], best[arm._replace(**{factor: True})], strict=True)
            ]
            mean, least, most = mean_interval(pairs)
            effects.append(f"{mean:+.3f} ({least:+.3f} to {most:+.3f})")
        lines.append(f"| {factor} | " + " | ".join(effects) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file, arms = options.out / "rows.jsonl", (*CROSSED, *SINGLE)
    first = [
        Job(arm, lr, 0, options.data, options.seconds) for arm, lr in itertools.product(arms, RATES)
    ]
    rows = train_missing(first, file, options.workers)
    chosen = {
        arm: max((row for row in rows if row["arm"] == arm.name), key=lambda row: row["ap50"])["lr"]
        for arm in arms
    }
    again = [
        Job(arm, chosen[arm], seed, options.data, options.seconds)
        for arm, seed in itertools.product(arms, range(options.seeds))
    ]
    rows = train_missing(again, file, options.workers)
    best = {arm: [row for row in rows if row["arm"] == arm.name] for arm in arms}
    text = table(best)
    (options.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
