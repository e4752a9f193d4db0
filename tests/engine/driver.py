"""A search in a process of its own, to be killed: `python -m tests.engine.driver RUN EXECUTOR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nas.searching import search
from nas.space import ChoiceSpace

SPACE = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(6)})
BUDGET = 30


class Slow:
    """Takes a moment, and writes down each evaluation that it finishes."""

    def __init__(self, log: Path, seconds: float) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        time.sleep(self.seconds)
        with self.log.open("a") as file:
            file.write(f"{seed}\n")
        return float(sum(candidate.values()))


def main(run: str, executor: str, controller: str, seconds: str) -> None:
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    evaluate = Slow(folder / "evaluated.txt", float(seconds))
    search(SPACE, evaluate, controller, budget=BUDGET, executor=executor, run=folder)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
