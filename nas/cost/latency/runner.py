"""Times the pieces of a pack on the device at hand, and writes one JSON.

    python runner.py --device "Pixel 4"

Copy the whole folder to the device. Needed there: Python 3.8 or newer, numpy, onnxruntime; nothing
is sent anywhere. `nas device add times.json` makes the device's table of what was written.

The protocol: one picture at a time, float32, one thread unless --threads says otherwise. In each
round every piece is loaded, runs twice to warm up, and is timed; the order of the pieces is drawn
anew. A round's time is the median of at least three runs, and of 20 ms of runs; pieces that take
longer than half a second run once. With one thread, runs during which the process had to wait for
the processor are done again, within thirty runs in all. So a piece has one time a round, and what
disturbs the device for a while meets all pieces alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from typing import Any, NamedTuple

import numpy
import onnxruntime

FORMAT, VERSION = "spinenas device times", 1
WARM_UP, RUNS, ENOUGH_MS, MOST_RUNS, LONG_MS = 2, 3, 20.0, 30, 500.0
SHARE, CHECKED_MS = 0.95, 1.0
"""Of a run's time, what the process has to have had the processor for; shorter runs pass."""


class Round(NamedTuple):
    """One piece in one round: the times of its runs in ms, and how many more were disturbed."""

    runs: list[float]
    disturbed: int


def main(words: list[str] | None = None) -> int:
    """Reads the command line, times all pieces, writes the file; returns the exit code."""
    options = _parser().parse_args(words)
    with open(os.path.join(options.pack, "pack.json"), encoding="utf-8") as file:
        pack = json.load(file)
    if pack.get("version") != VERSION:
        print(f"pack.json is of version {pack.get('version')!r}, this script of {VERSION}")
        return 2
    load, started = _load(), time.time()
    rounds, failed = _rounds(pack["pieces"], options)
    minutes = (time.time() - started) / 60
    timed = [piece for piece in pack["pieces"] if piece["name"] in rounds]
    times = {
        "format": FORMAT,
        "version": VERSION,
        "device": options.device,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "threads": options.threads,
        "precision": "float32",
        "rounds": options.rounds,
        "warm_up": WARM_UP,
        "load_before": load,
        "disturbed": _share(rounds),
        "minutes": round(minutes, 2),
        "pieces": [_written(piece, rounds[piece["name"]]) for piece in timed],
    }
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(times, file, indent=1)
    for name, why in failed.items():
        print(f"not timed: {name} ({why})", file=sys.stderr)
    print(f"{len(timed)} pieces timed in {minutes:.1f} min: {options.out}")
    return 0 if timed else 2


def _parser() -> argparse.ArgumentParser:
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--device", required=True, help="what to call it, such as 'Pixel 4'")
    parser.add_argument("--pack", default=here, help="the folder of the pieces (the script's own)")
    parser.add_argument("--out", default="times.json", help="what to write (times.json)")
    parser.add_argument("--threads", type=_count, default=1, help="of one operator (1)")
    parser.add_argument("--rounds", type=_count, default=5, help="over all pieces (5)")
    return parser


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _rounds(
    pieces: list[dict[str, Any]], options: argparse.Namespace
) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """Returns all rounds of each piece by its name, and why others can't be timed."""
    rounds: dict[str, list[Round]] = {}
    failed: dict[str, str] = {}
    done = 0
    for number in range(options.rounds):
        order = list(pieces)
        random.Random(number).shuffle(order)
        for piece in order:
            name = piece["name"]
            path = os.path.join(options.pack, "models", os.path.basename(name) + ".onnx")
            try:
                if name not in failed:
                    rounds.setdefault(name, []).append(time_model(path, options.threads))
            except Exception as error:
                failed[name] = " ".join(str(error).split())[:200]
                rounds.pop(name, None)
            done += 1
            print(f"{done}/{options.rounds * len(pieces)}", flush=True)
    return rounds, failed


def time_model(path: str, threads: int) -> Round:
    """Loads a model, warms up, and times it."""
    session = _session(path, threads)
    feed = {
        one.name: numpy.full(one.shape, 0.5, dtype=numpy.float32) for one in session.get_inputs()
    }
    for _ in range(WARM_UP):
        first, _ = _run(session, feed)
        if first > LONG_MS:
            break
    count, most, enough = (1, 3, 0.0) if first > LONG_MS else (RUNS, MOST_RUNS, ENOUGH_MS)
    good: list[float] = []
    bad: list[float] = []
    while (len(good) < count or sum(good) < enough) and len(good) + len(bad) < most:
        spent, share = _run(session, feed)
        waited = threads == 1 and spent > CHECKED_MS and share < SHARE
        (bad if waited else good).append(spent)
    return Round(good or bad, len(bad))


def _run(session: Any, feed: dict[str, Any]) -> tuple[float, float]:
    """Runs once; returns the time in ms, and the share in which the process had the processor."""
    before, worked = time.perf_counter(), time.process_time()
    session.run(None, feed)
    worked, spent = time.process_time() - worked, time.perf_counter() - before
    return spent * 1e3, worked / spent


def _session(path: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _written(piece: dict[str, Any], rounds: list[Round]) -> dict[str, Any]:
    runs = sorted(spent for one in rounds for spent in one.runs)
    return {
        "name": piece["name"],
        "whole": piece["whole"],
        "operators": piece["operators"],
        "ms": [round(statistics.median(one.runs), 5) for one in rounds],
        "p95_ms": round(runs[min(len(runs) - 1, int(0.95 * len(runs)))], 5),
    }


def _share(rounds: dict[str, list[Round]]) -> float:
    """Returns the share of all runs that were disturbed."""
    every = [one for own in rounds.values() for one in own]
    bad, good = sum(one.disturbed for one in every), sum(len(one.runs) for one in every)
    return round(bad / max(1, bad + good), 4)


def _load() -> float | None:
    """Returns how many processes wanted to run in the last minute; None where unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


if __name__ == "__main__":
    sys.exit(main())
