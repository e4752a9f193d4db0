"""Tables for the terminal: a search's best, and the last lines of a run."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nas.errors import amount, printable
from nas.report.formatting import UNITS, cost_text, number_text, proposed_by, time_text
from nas.runs.folder import Run
from nas.study.failures import FailureKind
from nas.study.finalists import Finalist
from nas.study.objective import ObjectiveSettings
from nas.study.result import Result, result_of
from nas.study.trial import Record, Status

ON_TARGET = 0.1
"""How far from its target, relatively, a search may end without a note."""
REASONS = 5
"""Reasons of failures that are listed; each with the first `NAMED` of its trials."""
NAMED = 3


def leaderboard(result: Result, count: int = 10) -> Table:
    """Lists the best architectures of a search, re-evaluated ones before the others.

    Args:
        result: What the search came to.
        count: Rows at most.
    """
    seconds = bool(result.finalists)
    ranked = ranking(result)[:count]
    objective = result.objective
    extra = objective.maximize if objective.shape is not None else "ap"
    if extra == objective.score_name or not any(extra in row.metrics for row, _ in ranked):
        extra = ""
    costs = [name for name in UNITS if any(name in row.costs for row, _ in ranked)]
    costs = [name for name in costs if name != "bits"]
    roomy = len(costs) < 3
    title = f"best of {len(result.trials)} trials"
    title += f" and {len(result.warm_start)} earlier ones" if result.warm_start else ""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=roomy,
        padding=(0, 1 if roomy else 0, 0, 0),  # a row fits a terminal of 80 columns
        pad_edge=False,
    )
    heads = ["#", "trial", "arm", "re-evaluated" if seconds else "", objective.score_name, extra]
    for head in (*heads, *(name.removesuffix("_ms") for name in costs), "time"):
        if head:
            table.add_column(head, justify="left" if head == "arm" else "right", no_wrap=True)
    for place, (row, again) in enumerate(ranked, start=1):
        cells = [str(place), str(row.number), proposed_by(row)]
        cells += [_reevaluation_text(again)] if seconds else []
        cells.append(number_text(objective.score(row)))
        cells += [number_text(row.metrics.get(extra))] if extra else []
        cells += [cost_text(name, row.costs.get(name)) for name in costs]
        table.add_row(*cells, time_text(row.seconds))
    if not ranked:
        table.caption = "no trial has a score yet"
    elif seconds:
        table.caption = "re-evaluated: mean ± spread over fresh seeds; it decides the order"
    return table


def ranking(result: Result) -> list[tuple[Record, Finalist | None]]:
    """Rows of distinct candidates, best first: finalists by their mean, then the others."""
    ranked: dict[str, tuple[Record, Finalist | None]] = {}
    for finalist in result.finalists:
        ranked.setdefault(finalist.record.key, (finalist.record, finalist))
    scored = [row for row in (*result.trials, *result.warm_start) if row.is_scored]
    for row in sorted(scored, key=lambda row: (-result.objective.score(row), row.number)):
        ranked.setdefault(row.key, (row, None))
    return list(ranked.values())


def top(path: Path, count: int = 10) -> RenderableType:
    """Shows the leaderboard of a run's folder, finished or under way, and how it stands.

    Raises:
        RunError: There is no search in that folder.
    """
    records, objective = Run(path).read_search()
    result = result_of(records, objective)
    return Group(leaderboard(result, count), _lines([standing(records), *failed_lines(records)]))


def standing(records: Sequence[Record]) -> str:
    """Counts in one line the trials that are done, stopped, under way, failed or cached."""
    search = [row for row in records if row.phase == "search"]
    own = [row for row in search if row.cached_from is None]
    parts = [f"{amount(sum(row.status is Status.DONE for row in own), 'trial')} scored"]
    if early := stopped(records):
        parts.append(f"{len(early)} stopped early")
    under_way = sum(row.status is Status.ASKED for row in records if row.cached_from is None)
    if under_way:
        parts.append(f"{under_way} under way")
    parts += [f"{count} × {kind}" for kind, count in failures(own).items()]
    repeats = len(search) - len(own)
    if repeats:
        parts.append(f"{repeats} proposed again, and not run twice")
    earlier = sum(row.phase == "earlier" for row in records)
    if earlier:
        parts.append(f"{earlier} known from an earlier run")
    return ", ".join(parts)


def stopped(records: Sequence[Record]) -> list[Record]:
    """Returns the search's own trials that were ended early; they have reports, but no score."""
    return [
        row
        for row in records
        if row.phase == "search" and row.status is Status.STOPPED and row.cached_from is None
    ]


def failures(records: Sequence[Record]) -> dict[str, int]:
    """Counts failed rows by kind in plain words, the most frequent first."""
    counts: dict[str, int] = {}
    for row in records:
        if row.failure is not None and row.cached_from is None:
            kind = row.failure.kind.value.replace("_", " ")
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def failed_lines(records: Sequence[Record]) -> list[str]:
    """Says which trials failed and why, a line a reason, the most frequent first.

    What is over a limit isn't run, and so no failure: its number says enough.
    """
    trials: dict[tuple[str, str], list[int]] = {}
    for row in records:
        if row.failure is None or row.cached_from is not None:
            continue
        if row.failure.kind is not FailureKind.OVER_LIMIT:
            reason = row.failure.kind.value.replace("_", " "), row.failure.message
            trials.setdefault(reason, []).append(row.number)
    ranked = sorted(trials.items(), key=lambda item: (-len(item[1]), item[1]))
    lines = [
        f"{_trials_text(numbers)}: {kind}: {message}"
        for (kind, message), numbers in ranked[:REASONS]
    ]
    rest = ranked[REASONS:]
    if rest:
        count = sum(len(numbers) for _, numbers in rest)
        lines.append(f"{count} more failed for {len(rest)} other reasons")
    return lines


def _trials_text(numbers: Sequence[int]) -> str:
    """Names trials as one says them: `trial 4`, `trials 0, 1, 2 and 5 more`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"trials {', '.join(map(str, numbers[:NAMED]))}{more}"


def closing(path: Path, result: Result, data: Path | None = None) -> RenderableType:
    """Returns the last lines of a search: where it is, what won, and what to type next."""
    lines = [f"run: {path}"]
    if result.best is not None:
        again = next((f for f in result.finalists if f.record is result.best), None)
        score = (
            f"{_reevaluation_text(again)} re-evaluated"
            if again
            else number_text(result.objective.score(result.best))
        )
        lines.append(f"winner: trial {result.best.number}, {score}")
        metric = result.objective.maximize
        if not any(row.metrics.get(metric) for row in result.trials):
            lines.append(
                f"note: {metric} is 0 in all trials, so the winner is a guess; make trials longer "
                "(--set proxy.recipe.epochs=N, proxy.images=N)"
            )
        lines += _off_target(result.best, result.objective)
        lines.append("next:")
        lines += [f"  {command}" for command in next_commands(path, data)]
    else:
        lines += ["next:", f"  nas resume {shlex.quote(str(path))}"]
    return _lines(lines)


def _lines(lines: Sequence[str]) -> Text:
    return Text("\n".join(map(printable, lines)))


def _off_target(best: Record, objective: ObjectiveSettings) -> list[str]:
    """Returns a note where a search didn't land on its target."""
    shape = objective.shape
    if shape is None or shape.kind != "absolute":
        return []
    cost = {**best.costs, **best.metrics}[shape.cost]
    if abs(cost / shape.target - 1) <= ON_TARGET:
        return []
    return [
        f"note: the winner's {shape.cost} is {cost_text(shape.cost, cost)}, and the target "
        f"{cost_text(shape.cost, shape.target)}: {objective.maximize} changes more with it than "
        f"the weight {shape.w:g} takes away; --set objective.shape.weight={3 * shape.w:g} holds a "
        "search closer"
    ]


def next_commands(path: Path, data: Path | None = None) -> list[str]:
    """Returns the commands that one types after a search."""
    run, final = shlex.quote(str(path)), shlex.quote(f"{path}-final")
    place = f" --data {shlex.quote(str(data))}" if data is not None else ""
    return [f"nas train --genome {run}{place} --run {final}", f"nas report {run}"]


def _reevaluation_text(finalist: Finalist | None) -> str:
    if finalist is None:
        return "–"
    if len(finalist.rewards) < 2:
        return f"{finalist.mean:.3f}"
    return f"{finalist.mean:.3f} ± {statistics.stdev(finalist.rewards):.3f}"
