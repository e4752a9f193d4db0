"""Whether a change made anything slower: pairs of measurements of this checkout and of an old one.

    python experiments/bench/against_commit.py 3db94b8 --out DIR [--pairs 20]

The commit is checked out into a temporary folder. Both sides do the same work, each in a process of
its own with one thread, and take turns; which begins alternates from pair to pair. What counts is
the process's own processor time. Each side says what its work came to, and sides that differ are
refused. Each measurement is a line of DIR/rows.jsonl, written as it ends; those that stand there
aren't done again. The ratio of a pair is the old side's time over the new one's, so above 1 is
quicker than before; the table has the median of all pairs, with an interval from resampled pairs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
SIDES = ("old", "new")
LEAST_MEDIAN, LEAST_UPPER = 0.97, 1.0
"""What the median ratio, and the upper end of its interval, are to reach."""
GENOMES = 1000
RESAMPLES = 9999

Row = dict[str, Any]
Work = Callable[[int], tuple[float, Any]]
"""From a pair's number to the seconds that were taken, and what the work came to."""


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the processor time of a call in seconds, and what it returned."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def engine(pair: int) -> tuple[float, Any]:
    """300 trials of evolution over SpineNet's space, in memory, with a score that costs nothing."""
    return _search("evolution", 300, pair)


def proposals(pair: int) -> tuple[float, Any]:
    """60 trials of the predictor over SpineNet's space, of which nearly all time is proposing."""
    return _search("predictor", 60, pair)


def _search(controller: str, budget: int, seed: int) -> tuple[float, Any]:
    import nas
    from search_spaces.spinenet import SpineNetSpace

    def score(candidate: Any, seed: int) -> float:
        return seed % 1000 / 1000.0

    seconds, result = seconds_of(
        lambda: nas.search(SpineNetSpace(), score, controller, budget=budget, seed=seed)
    )
    return seconds, [trial.reward for trial in result.trials]


def genomes_of(space: str, seed: int) -> list[Any]:
    """Draws as many genomes of a space as are counted or timed at once."""
    from search_spaces.mobile import MobileSpace
    from search_spaces.spinenet import SpineNetSpace

    made = {"spinenet": SpineNetSpace, "mobile": MobileSpace}[space]()
    rng = random.Random(1000 + seed)
    return [made.sample(rng) for _ in range(GENOMES)]


def profiles(space: str) -> Work:
    """Returns the work of counting parameters and multiply-adds of drawn genomes."""

    def work(pair: int) -> tuple[float, Any]:
        import nas

        genomes = genomes_of(space, pair)
        seconds, costs = seconds_of(lambda: [nas.profile(genome) for genome in genomes])
        return seconds, [sum(cost.macs for cost in costs), sum(cost.params for cost in costs)]

    return work


def latencies(space: str) -> Work:
    """Returns the work of adding up a device's times of drawn genomes."""

    def work(pair: int) -> tuple[float, Any]:
        from nas.cost import latency

        genomes, table = genomes_of(space, pair), latency.read_table(Path("table.json"))
        seconds, times = seconds_of(lambda: [table.time_ms(genome) for genome in genomes])
        return seconds, round(sum(times), 3)

    return work


class Step:
    """Training steps of a network of the zoo; what they come to is the loss of the last."""

    def __init__(self, name: str, batch: int, steps: int, **scale: Any) -> None:
        self.name, self.batch, self.steps, self.scale = name, batch, steps, scale
        self._step: Callable[[], float] | None = None

    def __call__(self, pair: int) -> tuple[float, Any]:
        """Makes some steps, as the training loop makes them."""
        import torch

        if self._step is None:
            torch.set_num_threads(1)
            self._step = self._prepared()
        step = self._step
        return seconds_of(lambda: [step() for _ in range(self.steps)][-1])

    def _prepared(self) -> Callable[[], float]:
        import torch
        from timing import pictures

        import nas
        from nas.training.numerics import set_numerics
        from nas.training.optimizer import make_optimizer
        from nas.training.recipes import resolve
        from search_spaces import zoo

        set_numerics(1)
        torch.manual_seed(0)
        genome = zoo.genome(self.name).scaled(**self.scale)
        model = _accelerated(nas.build(genome, 32)).train().to(memory_format=torch.channels_last)
        optimizer = make_optimizer(model, resolve("short", {}))
        images, boxes, labels = pictures(self.batch, genome.input.size, 32, 5, least=8)

        def step() -> float:
            loss = torch.stack(list(model.losses(images, boxes, labels).values())).sum()
            value = loss.item()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return value

        return step


def _accelerated(model: Any) -> Any:
    """Returns the model as the training loop takes it; before there was a transform, as built."""
    try:
        from nas.models.fast_cpu import accelerate
    except ImportError:
        return model
    return accelerate(model)


class Inference:
    """Images through a deployed detector, with postprocessing."""

    def __init__(self, name: str, images: int) -> None:
        self.name, self.images = name, images
        self._detect: Callable[[], Any] | None = None

    def __call__(self, pair: int) -> tuple[float, Any]:
        """Detects in one image after the other."""
        if self._detect is None:
            self._detect = self._prepared()
        detect = self._detect
        seconds, found = seconds_of(lambda: [detect() for _ in range(self.images)][-1])
        return seconds, round(float(found[0]["scores"].sum()), 4)

    def _prepared(self) -> Callable[[], Any]:
        import torch
        from timing import pictures

        import nas
        from search_spaces import zoo

        torch.set_num_threads(1)
        torch.manual_seed(0)
        genome = zoo.genome(self.name)
        model: Any = nas.build(genome, 32).eval()
        model = model.deployed() if hasattr(model, "deployed") else model.for_inference()
        image = pictures(1, genome.input.size, 32, 5, least=8)[0]

        @torch.inference_mode()
        def detect() -> Any:
            return model.detect(image)

        return detect


WORKS: dict[str, Work] = {
    "engine, 300 trials": engine,
    "predictor, 60 trials": proposals,
    "profile of 1,000, SpineNet": profiles("spinenet"),
    "profile of 1,000, mobile": profiles("mobile"),
    "latency of 1,000, SpineNet": latencies("spinenet"),
    "latency of 1,000, mobile": latencies("mobile"),
    "proxy step": Step("spinenet-49", 16, 2, width=0.25, alpha=0.25, head_width=64, input_size=128),
    "SSDlite step": Step("ssdlite320-mobilenetv3-large", 8, 1, input_size=320),
    "inference, SpineNet-49S": Inference("spinenet-49s", 1),
    "inference, SSDlite": Inference("ssdlite320-mobilenetv3-large", 8),
}


def serve() -> None:
    """Does what a line of standard input names, again and again, and answers with a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin:
        name, pair = json.loads(line)
        seconds, result = WORKS[name](pair)
        answers.write(json.dumps({"seconds": seconds, "result": result}) + "\n")


class Side:
    """A process that measures in one checkout."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._warm: set[str] = set()
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, "--serve"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, name: str, pair: int) -> Row:
        """Returns the seconds and the result; the first of a kind is done once before."""
        if name not in self._warm:
            self._ask(name, -1)
            self._warm.add(name)
        return self._ask(name, pair)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, name: str, pair: int) -> Row:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, pair]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{name}: the process ended; what it said stands above")
        row: Row = json.loads(answer)
        return row


def measure_missing(
    names: Sequence[str], pairs: int, file: Path, measure: Callable[[str, str, int], Row]
) -> list[Row]:
    """Measures the pairs that aren't in the file yet, and returns the rows of all.

    Args:
        names: Of the measurements.
        pairs: How many of each.
        file: One row a line; a pair stands there as a whole or counts as missing.
        measure: From side, name and pair to seconds and result.

    Raises:
        SystemExit: Both sides of a pair don't come to the same.
    """
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["name"], row["pair"]) for row in rows}
    for pair in range(pairs):
        for name in names:
            if (name, pair) in done:
                continue
            order = SIDES if pair % 2 == 0 else SIDES[::-1]
            answers = {side: measure(side, name, pair) for side in order}
            if answers["old"]["result"] != answers["new"]["result"]:
                raise SystemExit(f"{name}, pair {pair}: the sides don't do the same: {answers}")
            seconds = {side: answers[side]["seconds"] for side in SIDES}
            row = {"name": name, "pair": pair, **seconds}
            with file.open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            rows.append(row)
            print(f"{name}, pair {pair}: {seconds['old'] / seconds['new']:.3f}", flush=True)
    return [row for row in rows if row["name"] in names]


def median_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median of ratios, and the 95 % interval by resampling pairs."""
    rng = random.Random(0)
    medians = sorted(
        statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    cut = round(0.025 * RESAMPLES)
    return statistics.median(ratios), medians[cut], medians[-1 - cut]


def table_of(rows: Sequence[Row]) -> str:
    """Returns a line for each measurement."""
    lines = ["| work | old | new | pairs | ratio, 95 % | as quick |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        median, least, most = median_interval([row["old"] / row["new"] for row in own])
        old, new = (statistics.median(row[side] for row in own) for side in SIDES)
        verdict = "yes" if median >= LEAST_MEDIAN and most >= LEAST_UPPER else "no"
        lines.append(
            f"| {name} | {old:.3f} s | {new:.3f} s | {len(own)} | {median:.3f} "
            f"({least:.3f} to {most:.3f}) | {verdict} |"
        )
    return "\n".join(lines)


def checked_out(commit: str, folder: Path) -> Path:
    """Puts the files of a commit of this repository into a folder, and returns where."""
    archive = ["git", "-C", str(HERE), "archive", "--prefix", "old/", commit]
    files = subprocess.run(archive, check=True, capture_output=True).stdout  # noqa: S603
    with tarfile.open(fileobj=io.BytesIO(files)) as archived:
        archived.extractall(folder, filter="data")
    return folder / "old"


def write_device_table(path: Path) -> None:
    """Writes a made-up device's table that both sides read, with all families of both spaces."""
    from nas.cost.latency.table import families

    names: dict[str, int] = {}
    for space in ("spinenet", "mobile"):
        for genome in genomes_of(space, -1)[:300]:
            names |= families(genome)
    operators = {"conv k3 s2 16@160 > 32@80": 1}
    weights = {"calls": 0.01, "macs": 1e-9, "out": 1e-7, "in": 1e-7, "weights": 1e-8, "far": 1e-7}
    path.write_text(
        json.dumps(
            {
                **{"version": 2, "device": "made up", "runtime": "none", "threads": 1},
                **{"precision": "float32", "overhead_ms": 0.5},
                "protocol": {"rounds": 1, "warm_up": 0, "disturbed": 0.0, "load_before": None},
                "accuracy": {
                    **{"pieces": 1, "networks": 0, "piece_error": None, "network_error": None}
                },
                **{"channel_block": 16, "near_bytes": 2**20},
                "families": {name: {"ms": weights, "largest": 2**40} for name in names},
                "measured": [
                    {"name": "one", "whole": False, "operators": operators, "ms": 1, "p95_ms": 1}
                ],
            }
        )
    )


def main() -> None:
    """Measures what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="of the old side")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--only", choices=WORKS, nargs="*", default=list(WORKS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="against-")))
        old = checked_out(options.commit, folder)
        write_device_table(folder / "table.json")
        sides = {side: Side(root, folder) for side, root in zip(SIDES, (old, HERE), strict=True)}
        for side in sides.values():
            stack.callback(side.close)
        rows = measure_missing(
            options.only,
            options.pairs,
            options.out / "rows.jsonl",
            lambda side, name, pair: sides[side].measure(name, pair),
        )
    text = table_of(rows)
    (options.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main()
