"""Trainings from packaged weights that compare detectors on the hold-out, in equal time.

A comparison lists its trainings. How many steps one takes is worked out first: a few steps of each
detector are timed in turns, round by round, and a training has as many as fit into its processor
time by the least of these times. From then on the number is fixed, so what else runs beside a
training can't make it shorter, and each can be repeated exactly. Each timing and each training is
a line of a file, written as it ends; those that stand there aren't run again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from nas.cost import profile
from nas.data.settings import DataSettings
from nas.genome import Genome
from nas.training.recipes import resolve as recipe_of
from nas.training.settings import RecipeSettings
from search_spaces.mobile import MobileSpace

BATCH = 16
WARM_UP, TIMED = 3, 8
"""Steps before those that are timed, and how many these are."""
ROUNDS = 3
"""Timings of each detector."""
FORWARDS = 12
"""Forwards of one image, whose median is the time of inference."""

Row = dict[str, Any]


class Arm(NamedTuple):
    """What is compared.

    Attributes:
        name: In the rows and the table.
        genome_json: The detector, as it is trained.
        pretrained: Starts from the package's weights, not from scratch.
        passes: Is augmented by passes over the data, not by mirroring alone.
    """

    name: str
    genome_json: str
    pretrained: bool = True
    passes: bool = True

    @property
    def genome(self) -> Genome:
        """The detector's genome."""
        return Genome.from_json(self.genome_json)

    def recipe(self, lr: float, epochs: int) -> RecipeSettings:
        """Returns the short recipe at a rate, with an average of weights."""
        changes = {"epochs": epochs, "batch_size": BATCH, "lr": lr, "ema_share": 0.05, "threads": 1}
        return recipe_of("short", {**changes, "augment_by_passes": self.passes})


class Timing(NamedTuple):
    """A few steps of an arm, in one of the rounds."""

    arm: Arm
    round: int
    data: Path

    @property
    def key(self) -> tuple[str, int]:
        """The key of its row."""
        return self.arm.name, self.round

    def run(self) -> Row:
        """Times steps and inference by one thread's processor time."""
        import torch

        from nas.data.holdout import subset

        fit, _ = _parts(self.data)
        images = min(len(fit), BATCH * (WARM_UP + TIMED)) // BATCH * BATCH
        epochs = math.ceil((WARM_UP + TIMED) * BATCH / images)
        model, ends = _train(self.arm, RATE, 0, subset(fit, images, seed=0), epochs)
        deployed, size = model.eval().deployed(), self.arm.genome.input.size
        image, forwards = torch.zeros(1, 3, size, size), []
        with torch.inference_mode():
            for _ in range(FORWARDS):
                started = time.process_time()
                deployed(image)
                forwards.append(time.process_time() - started)
        return {
            **{"arm": self.arm.name, "round": self.round},
            "step_seconds": (ends[WARM_UP + TIMED] - ends[WARM_UP]) / TIMED,
            "forward_ms": 1000 * statistics.median(forwards),
        }


class Training(NamedTuple):
    """One training of an arm, judged on the hold-out by the average of its weights."""

    arm: Arm
    lr: float
    seed: int
    steps: int
    data: Path

    @property
    def key(self) -> tuple[str, float, int]:
        """The key of its row."""
        return self.arm.name, self.lr, self.seed

    def run(self) -> Row:
        """Trains once, and scores the hold-out; `val` isn't read."""
        from nas.data.cache import PixelCache
        from nas.data.holdout import subset
        from nas.evaluation.coco import evaluate
        from nas.evaluation.predict import predict_split

        fit, held = _parts(self.data)
        epochs = math.ceil(self.steps / (len(fit) // BATCH))
        images = min(len(fit), BATCH * round(self.steps / epochs))
        model, ends = _train(self.arm, self.lr, self.seed, subset(fit, images, seed=0), epochs)
        genome = self.arm.genome
        size, rule = genome.input.size, genome.input.resize
        pixels = PixelCache.open(held, size, rule, DataSettings().cache_dir)
        scores = evaluate(pixels.decodable(held), predict_split(model.eval(), pixels, held))
        cost = profile(genome, num_classes=1 + len(fit.categories))
        return {
            **{"arm": self.arm.name, "lr": self.lr, "seed": self.seed},
            **{"steps": len(ends) - 1, "epochs": epochs, "images": images},
            **{"cpu_seconds": round(ends[-1] - ends[0], 1)},
            **{"macs": cost.macs, "params": cost.params, "ap": scores.ap, "ap50": scores.ap50},
        }


RATE = 3e-3
"""The learning rate where it isn't compared; `RATES` are those that are tried."""
RATES = (1.5e-3, 3e-3, 6e-3)


def options_parser(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """Returns the command line that comparisons share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--workers", type=int, default=2)
    return parser


def lite(number: int, side: int, *, last: int | None = None, **choices: Any) -> Genome:
    """Returns a detector on an EfficientNet-Lite, at one side of the input.

    Args:
        number: Which Lite, 0, 1 or 2.
        side: Of the input in pixels.
        last: The backbone's last row; None leaves it whole.
        choices: Of the mobile space's other decisions, by name.
    """
    space = MobileSpace(
        backbone=f"efficientnet-lite{number}", input_factors=(1.0,), deploy={"input_size": side}
    )
    rows = space.decisions[0].choices
    chosen = {**choices, "last": max(rows) if last is None else last, "input": side}
    return space.decode(tuple(d.choices.index(chosen[d.name]) for d in space.decisions))


def steps_of(
    arms: Sequence[Arm], data: Path, out: Path, *, seconds: float, workers: int
) -> dict[str, int]:
    """Times what isn't timed yet, and returns how many steps each arm takes.

    Args:
        arms: What is compared.
        data: A COCO folder.
        out: The comparison's folder; its `timings.jsonl` has a line each arm and round.
        seconds: Of one thread's processor time, for a training.
        workers: Processes side by side.
    """
    timings = [Timing(arm, number, data) for number in range(ROUNDS) for arm in arms]
    rows = run_missing(timings, out / "timings.jsonl", workers, _timing_in_words)
    return {
        arm.name: max(1, round(seconds / min(row["step_seconds"] for row in rows_of(arm, rows))))
        for arm in arms
    }


def train_missing(trainings: Sequence[Training], out: Path, workers: int) -> list[Row]:
    """Trains what isn't in the folder's `rows.jsonl` yet, and returns the rows of all."""
    return run_missing(trainings, out / "rows.jsonl", workers, _training_in_words)


def run_missing(
    jobs: Sequence[Any], file: Path, workers: int, in_words: Callable[[Row], str]
) -> list[Row]:
    """Runs the jobs whose rows aren't in the file, side by side, and returns the rows of all.

    Args:
        jobs: Each has a `key`, which its row repeats, and `run`, which makes the row.
        file: One row a line, in JSON.
        workers: Processes side by side.
        in_words: What is printed of a new row.
    """
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    done = {_key(row) for row in rows}
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [pool.submit(job.run) for job in jobs if job.key not in done]
        for future in as_completed(waiting):
            row = future.result()
            with file.open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            rows.append(row)
            print(in_words(row), flush=True)
    by_key = {_key(row): row for row in rows}
    return [by_key[job.key] for job in jobs]


def rows_of(arm: Arm, rows: Iterable[Row]) -> list[Row]:
    """Returns an arm's rows."""
    return [row for row in rows if row["arm"] == arm.name]


def forward_ms(arms: Iterable[Arm], out: Path) -> Mapping[str, float]:
    """Returns the least of each arm's times of inference, in milliseconds."""
    rows = [json.loads(line) for line in (out / "timings.jsonl").read_text().splitlines()]
    return {arm.name: min(row["forward_ms"] for row in rows_of(arm, rows)) for arm in arms}


def scores_in_words(rows: Sequence[Row], metric: str) -> str:
    """Returns the mean, and the score of each seed."""
    scores = [row[metric] for row in rows]
    return f"{statistics.fmean(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})"


def _parts(data: Path) -> tuple[Any, Any]:
    """Returns what is trained on and the hold-out, both of `train`."""
    from nas.data.coco import load_split
    from nas.data.holdout import holdout

    return holdout(load_split(data, "train"), DataSettings(), seed=0)


def _train(arm: Arm, lr: float, seed: int, part: Any, epochs: int) -> tuple[Any, list[float]]:
    """Returns a trained model, and the process's time before the first step and after each."""
    import torch

    from nas.data.cache import PixelCache
    from nas.models import build
    from nas.models.pretrained.initial import AUTO, SCRATCH, resolve
    from nas.models.pretrained.loading import first_model
    from nas.training.batches import recipe_batches
    from nas.training.loop import train

    torch.set_num_threads(1)
    genome, recipe = arm.genome, arm.recipe(lr, epochs)
    side = genome.input.size * recipe.oversample
    pixels = PixelCache.open(part, side, genome.input.resize, DataSettings().cache_dir)
    weights = resolve(AUTO if arm.pretrained else SCRATCH, [genome]).of(genome)
    assert arm.pretrained == (weights is not None)
    model, _ = first_model(lambda: build(genome, 1 + len(part.categories)), seed, weights)
    batches, ends = recipe_batches(recipe, pixels, part, seed), [time.process_time()]

    def note(*_: object) -> None:
        ends.append(time.process_time())

    for _ in train(model, batches, recipe, seed=seed, on_step=note):
        pass
    return model, ends


def _key(row: Row) -> tuple[Any, ...]:
    """Returns the key of a row, as its job's `key` has it."""
    return (row["arm"], row["round"]) if "round" in row else (row["arm"], row["lr"], row["seed"])


def _timing_in_words(row: Row) -> str:
    return f"{row['arm']}: {row['step_seconds']:.3f} s a step, round {1 + row['round']}"


def _training_in_words(row: Row) -> str:
    return f"{row['arm']}, lr {row['lr']:g}, seed {row['seed']}: AP50 {row['ap50']:.3f}"
