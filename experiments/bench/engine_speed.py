"""What the engine itself costs a trial, beside bare loops that do the least possible.

    python experiments/bench/engine_speed.py inline --folder FOLDER --out FILE
    python experiments/bench/engine_speed.py ray --out FILE

`inline`: evolution on the SpineNet space with an evaluator that returns at once and a store on
disk, against a loop that writes two rows of that size a trial, each in a commit of its own, to the
same disk with the same settings (WAL, synchronous=FULL); the time to absorb a recorded run; the
driver's memory; and the predictor's time a proposal. `ray`: a trial on two workers, against bare
Ray Tune with a searcher that returns constants, reused actors and no loggers. FOLDER should lie on
the disk that runs are kept on. All rows of a table come from one call: speeds are ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from nas.controllers import ControllerSettings, make_controller
from nas.executors import ComputeSettings, make_executor
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.objective import ObjectiveSettings
from nas.study.settings import NO_CONTROL
from nas.study.store import FILE_NAME, Store
from nas.study.study import Study
from search_spaces.spinenet.space import SpineNetSpace

T = TypeVar("T")

INLINE = {100: 5, 1_000: 3, 10_000: 1}
"""Trials, and how often each count is measured: medians are shown, since a disk's pace varies."""
ON_RAY, PREDICTED = (100, 1_000, 3_000), (100, 500, 2_000)


def score(candidate: Any, seed: int) -> float:
    """Returns at once."""
    return seed % 1000 / 1000.0


def seconds(work: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    """Wall time of one call."""
    return timed(work, *args, **kwargs)[0]


def timed(work: Callable[..., T], *args: Any, **kwargs: Any) -> tuple[float, T]:
    """Wall time of one call, and what it returned."""
    started = time.perf_counter()
    result = work(*args, **kwargs)
    return time.perf_counter() - started, result


def resident() -> float:
    """This process's memory now, in MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


def bare_loop(folder: Path, trials: int, row: bytes) -> None:
    """Two commits a trial: a row, and the same row changed."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE trials (number INTEGER PRIMARY KEY, row BLOB)")
    for number in range(trials):
        for _ in range(2):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO trials VALUES (?, ?)", (number, row))
            connection.execute("COMMIT")
    connection.close()


def study_of(store: Store, controller: str, budget: int) -> Study:
    space = SpineNetSpace()
    return Study(
        space,
        make_controller(ControllerSettings(name=controller), space, 0),
        ObjectiveSettings(maximize="score"),
        store,
        NO_CONTROL,
        seed=0,
        budget=budget,
    )


def inline(root: Path) -> list[dict[str, Any]]:
    """Rows of the table for one process."""
    search(
        SpineNetSpace(), score, "evolution", budget=20, settings=NO_CONTROL
    )  # loads what it needs
    rows: list[dict[str, Any]] = []
    for trials, rounds in INLINE.items():
        measured = [inline_once(root, trials) for _ in range(rounds)]
        row = {name: statistics.median(each[name] for each in measured) for name in measured[0]}
        rows.append({"what": "evolution, inline", "trials": trials, **row})
    for trials in PREDICTED:
        spent = seconds(
            search, SpineNetSpace(), score, "predictor", budget=trials, settings=NO_CONTROL
        )
        what = "predictor, inline, without a store"
        rows.append({"what": what, "trials": trials, "ms_a_trial": 1e3 * spent / trials})
    return rows


def inline_once(root: Path, trials: int) -> dict[str, float]:
    """One search, the bare loop beside it, and the search's resumption."""
    folder = Path(tempfile.mkdtemp(dir=root))
    before = resident()
    spent, result = timed(
        search, SpineNetSpace(), score, "evolution", budget=trials, settings=NO_CONTROL, run=folder
    )
    after = resident()  # with all rows, which the result holds
    assert len(result.trials) == trials
    size = (folder / FILE_NAME).stat().st_size // trials
    bare = seconds(bare_loop, folder, trials, bytes(size))
    with Store.open(folder / FILE_NAME) as store:
        resumed = seconds(study_of, store, "evolution", trials)
    shutil.rmtree(folder)
    return {
        "ms_a_trial": 1e3 * spent / trials,
        "trials_a_second": trials / spent,
        "bare_ms_a_trial": 1e3 * bare / trials,
        "speed_of_bare": bare / spent,
        "resume_seconds": resumed,
        "memory_before_mb": before,
        "memory_after_mb": after,
    }


def on_ray() -> list[dict[str, Any]]:
    """Rows of the table for two workers; our private Ray serves both sides."""
    space = ChoiceSpace({f"layer{i}": [0, 1, 2, 3] for i in range(12)})
    rows: list[dict[str, Any]] = []
    compute = ComputeSettings(executor="ray", workers=2)
    with make_executor(compute) as executor:
        for trials in ON_RAY:
            study = Study(
                space,
                make_controller(ControllerSettings(name="random"), space, 0),
                ObjectiveSettings(maximize="score"),
                Store.open(None),
                seed=0,
                budget=trials,
            )
            ours = seconds(executor.run, study, score)
            theirs = seconds(bare_tune, trials)
            rows.append(
                {
                    "what": "random, two Ray workers",
                    "trials": trials,
                    "ms_a_trial": 1e3 * ours / trials,
                    "tune_ms_a_trial": 1e3 * theirs / trials,
                    "share_of_tune": ours / theirs,
                }
            )
    return rows


def bare_tune(trials: int) -> None:
    """Ray Tune with as little as it can do."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    from ray import tune
    from ray.tune.search import Searcher

    class Constant(Searcher):
        def suggest(self, trial_id: str) -> dict[str, Any]:
            return {"x": 1}

        def on_trial_complete(self, *args: Any, **kwargs: Any) -> None: ...

    class Once(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"score": 1.0, "done": True}

        def reset_config(self, config: dict[str, Any]) -> bool:
            return True

    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            Once,
            tune_config=tune.TuneConfig(
                search_alg=Constant(),
                num_samples=trials,
                max_concurrent_trials=2,
                metric="score",
                mode="max",
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                callbacks=[],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    assert len(results) == trials and not results.errors


def table_of(rows: list[dict[str, Any]]) -> str:
    """Markdown: every kind of row as a table of its own."""
    text = []
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == what]
        names = [name for name in own[0] if name != "what"]
        lines = [
            f"{what}:",
            "",
            "| " + " | ".join(name.replace("_", " ") for name in names) + " |",
            "|---" * len(names) + "|",
        ]
        for row in own:
            shown = (f"{row[name]:.3g}" if name != "trials" else str(row[name]) for name in names)
            lines.append("| " + " | ".join(shown) + " |")
        text.append("\n".join(lines))
    return "\n\n".join(text) + "\n"


def main() -> None:
    """Measures, prints and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["inline", "ray"])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = inline(given.folder) if given.part == "inline" else on_ray()
    print(table_of(rows))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
