"""Two runs side by side: what differs between them, and what may be said of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nas.errors import printable
from nas.report.arms import expected_best, scores_of
from nas.report.formatting import cost_text, number_text, time_text
from nas.report.intervals import Interval, difference, mean_interval, welch_interval
from nas.study.result import Result
from nas.study.trial import Record, Status

LONGEST = 60
"""Characters of a setting's value that are shown."""


@dataclass(frozen=True)
class Compared:
    """A number that both runs have.

    Attributes:
        name: What the number is.
        first: The first run's.
        second: The second run's.
        interval: The first minus the second; None where nothing tells how far it spreads.
        basis: What the interval rests on, or why there is none.
    """

    name: str
    first: float
    second: float
    interval: Interval | None
    basis: str

    @property
    def difference(self) -> float:
        """The first minus the second."""
        return self.first - self.second

    def verdict(self, names: tuple[str, str]) -> str:
        """Says in plain words what may be claimed; `names` are those of the runs."""
        if self.interval is None:
            return "no verdict"
        if not self.interval.distinguishable:
            return "not distinguishable"
        return f"{names[self.interval.value < 0]} is higher"


@dataclass(frozen=True)
class Comparison:
    """All that `nas compare` shows.

    Attributes:
        names: The runs' names.
        metric: What the scores are; empty where each has a name of its own.
        scores: The numbers that both have.
        costs: Each run's costs as text, by name.
        settings: The settings that differ, by their name with dots.
        words: Sentences, the verdicts first.
    """

    names: tuple[str, str]
    metric: str
    scores: tuple[Compared, ...]
    costs: Mapping[str, tuple[str, str]]
    settings: Mapping[str, tuple[Any, Any]]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """The rows of a search, and what came of them."""

    records: Sequence[Record]
    result: Result

    @property
    def length(self) -> int:
        """Length of the longest re-evaluation, in trials."""
        return max((row.length for row in self._again()), default=1)

    def winner_scores(self) -> dict[int, float]:
        """Returns the winner's scores by fresh seed, of the longest re-evaluation."""
        if not self.result.finalists:
            return {}
        winner = self.result.finalists[0].record.key
        return {
            row.seed: self.result.objective.score(row)
            for row in self._again()
            if row.key == winner and row.length == self.length and row.status is Status.DONE
        }

    def costs(self) -> dict[str, str]:
        """Returns what was spent, and what the winner costs."""
        own = [row for row in self.records if row.cached_from is None]
        texts = {
            "trials": str(len(self.result.trials)),
            "from start to end": time_text(max((row.clock for row in self.records), default=0.0)),
            "of training in all": time_text(sum(row.seconds for row in own)),
        }
        winner = self.result.best
        for name in ("params", "macs"):
            if winner is not None and name in winner.costs:
                texts[f"the winner's {name}"] = cost_text(name, winner.costs[name])
        return texts

    def _again(self) -> list[Record]:
        return [r for r in self.records if r.phase == "finalist" and r.tell_seq is not None]


def search_scores(first: Search, second: Search) -> tuple[Compared, ...]:
    """Compares trials that pair, the winners' re-evaluations and the expected best of n trials."""
    scores = (
        same_trials(first, second),
        reevaluations(first, second),
        expected_bests(first, second),
    )
    return tuple(row for row in scores if row is not None)


def same_trials(first: Search, second: Search) -> Compared | None:
    """Compares trials of the same architecture with the same seed; None where there are none."""
    one, two = (
        {
            (row.key, row.seed): search.result.objective.score(row)
            for row in search.records
            if row.phase == "search" and row.is_scored
        }
        for search in (first, second)
    )
    return _paired("same architecture and seed", one, two)


def reevaluations(first: Search, second: Search) -> Compared | None:
    """Compares the winners' scores with fresh seeds; None where one run has none."""
    one, two = first.winner_scores(), second.winner_scores()
    if not (one and two):
        return None
    name, scores = "winner re-evaluated", (list(one.values()), list(two.values()))
    if first.length != second.length:
        basis = f"{first.length} and {second.length} times as long as a trial"
        return Compared(name, fmean(scores[0]), fmean(scores[1]), None, basis)
    if len(one.keys() & two.keys()) > 1:
        return _paired(name, one, two)
    interval: Interval | None = None
    basis = "a single seed tells nothing about the spread"
    if min(len(one), len(two)) > 1:
        interval, basis = welch_interval(*scores), f"{len(one)} and {len(two)} seeds, Welch's t"
    return Compared(name, fmean(scores[0]), fmean(scores[1]), interval, basis)


def expected_bests(first: Search, second: Search) -> Compared | None:
    """Compares the expected best of as many trials as the smaller run has; None below two.

    Trials of both arms count. Each estimate is a little low, the smaller run's the more
    (`nas.report.arms.expected_best` draws with replacement).
    """
    scores = [
        scores_of(search.records, "controller", search.result.objective)
        + scores_of(search.records, "control", search.result.objective)
        for search in (first, second)
    ]
    trials = min(len(values) for values in scores)
    if trials < 2:
        return None
    one, two = (expected_best(values, trials) for values in scores)
    basis = f"bootstrap over {len(scores[0])} and {len(scores[1])} trials"
    name = f"expected best of {trials}"
    return Compared(name, one.mean, two.mean, difference(one, two), basis)


def differing(
    first: Mapping[Any, Any], second: Mapping[Any, Any], within: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by their name with dots; what isn't there is "not set"."""
    differences: dict[str, tuple[Any, Any]] = {}
    for key in sorted(first.keys() | second.keys(), key=str):
        one, two = first.get(key, "not set"), second.get(key, "not set")
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            differences |= differing(one, two, f"{within}{key}.")
        elif one != two:
            differences[f"{within}{key}"] = one, two
    return differences


def shown(comparison: Comparison) -> Group:
    """Tables and sentences for the terminal."""
    names = comparison.names
    parts: list[Table | Text] = []
    if comparison.scores:
        heads = (comparison.metric or "on val", *names, "difference", "95 % interval")
        parts.append(_table(heads, (_score_cells(row) for row in comparison.scores)))
    costs = ((name, *texts) for name, texts in comparison.costs.items())
    parts.append(_table(("costs", *names), costs))
    if comparison.settings:
        rows = ((name, *map(_value, pair)) for name, pair in comparison.settings.items())
        parts.append(_table(("settings that differ", *names), rows))
    return Group(*parts, Text("\n".join(map(printable, comparison.words))))


def _paired(name: str, first: Mapping[Any, float], second: Mapping[Any, float]) -> Compared | None:
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    one, two = [first[key] for key in shared], [second[key] for key in shared]
    interval: Interval | None = None
    basis = "a single pair tells nothing about the spread"
    if len(shared) > 1:
        interval = mean_interval([a - b for a, b in zip(one, two, strict=True)])
        basis = f"{len(shared)} pairs, Student's t"
    return Compared(name, fmean(one), fmean(two), interval, basis)


def _score_cells(row: Compared) -> tuple[str, ...]:
    values = number_text(row.first), number_text(row.second), f"{row.difference:+.4f}"
    interval = row.interval
    return (row.name, *values, f"{interval.low:+.4f} to {interval.high:+.4f}" if interval else "–")


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    # Cells are `Text`, so that brackets in a name or a setting aren't read as markup.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(Text(printable(head)), justify="right" if place else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
