"""A search in a process of its own, to be killed: `python -m tests.engine.driver '{"run": ...}'`.

What it does is an `Order`, as JSON; `tests.engine.onlooker` starts it and looks on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from nas.controllers import Controller, ControllerSettings, make_controller
from nas.errors import NasError
from nas.executors.interrupt import SearchInterrupted
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.result import Result
from nas.study.settings import StudySettings
from nas.study.store import Store
from tests.engine.toys import noisy

SPACE = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(10)})
BUDGET = 30


@dataclasses.dataclass(frozen=True)
class Order:
    """What a driver does.

    Attributes:
        run: the store's folder; the driver's notes lie beside it.
        seconds: that a trial takes.
        pages: that the store may have, of 4096 bytes.
        jumps: whether the wall clock goes to and fro by years.
    """

    run: Path
    controller: str = "random"
    executor: str = "inline"
    delivery: str = "completion"
    seconds: float = 0.0
    budget: int = BUDGET
    pages: int | None = None
    jumps: bool = False

    @property
    def evaluated(self) -> Path:
        """A line for each evaluation that was finished: its seed."""
        return self.run.with_name(f"{self.run.name}-evaluated.txt")

    @property
    def heard(self) -> Path:
        """A line for each result that a controller heard: process, kind, number or code, reward."""
        return self.run.with_name(f"{self.run.name}-heard.txt")

    @property
    def said(self) -> Path:
        """What the drivers of this run have printed."""
        return self.run.with_name(f"{self.run.name}-said.txt")


class Noted:
    """Scores by every bit of candidate and seed, and writes down what it has finished."""

    def __init__(self, log: Path | None, seconds: float) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, candidate: dict[str, int], seed: int) -> float:
        time.sleep(self.seconds)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{seed}\n")
        return noisy(candidate, seed)["score"]


class Overheard:
    """A controller; each result that it is told is written down."""

    def __init__(self, controller: Controller, log: Path) -> None:
        self._controller, self._log = controller, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def tell(self, number: int, code: Any, reward: float | None, excess: float = 0.0) -> None:
        self._note("tell", number, reward)
        self._controller.tell(number, code, reward, excess)

    def observe(self, code: Any, reward: float | None, excess: float = 0.0) -> None:
        self._note("observe", code, reward)
        self._controller.observe(code, reward, excess)

    def _note(self, *what: Any) -> None:
        with self._log.open("a") as file:
            file.write(json.dumps([os.getpid(), *what]) + "\n")


def main(words: str) -> int:
    """Runs one order, and ends as the command `nas` does."""
    given = json.loads(words)
    order = Order(**given | {"run": Path(given["run"])})
    if order.pages is not None:
        _limit_pages(order.pages)
    if order.jumps:
        _jump()
    try:
        search_as(order, order.run, Noted(order.evaluated, order.seconds), order.heard)
    except NasError as error:
        print("driver:", error, file=sys.stderr)
        return 130 if isinstance(error, SearchInterrupted) else 2
    return 0


def search_as(order: Order, folder: Path | None, evaluate: Noted, heard: Path | None) -> Result:
    """Runs an order's search; without `folder`, in memory."""

    def controller(space: Any, seed: int) -> Controller:
        made = make_controller(ControllerSettings(name=order.controller), space, seed)
        return made if heard is None else Overheard(made, heard)  # type: ignore[return-value]

    return search(
        SPACE,
        evaluate,
        controller,
        budget=order.budget,
        executor=order.executor,  # type: ignore[arg-type]
        run=folder,
        settings=StudySettings(delivery=order.delivery, window=2, backoff=()),  # type: ignore[arg-type]
    )


def _limit_pages(pages: int) -> None:
    opened = Store.open

    def limited(path: Path | None) -> Store:
        store = opened(path)
        store._connection.execute(f"PRAGMA max_page_count={pages}")
        return store

    Store.open = limited  # type: ignore[method-assign]


def _jump() -> None:
    years = random.Random(0)
    time.time = lambda: 1.7e9 + years.uniform(-1, 1) * 3e8


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
