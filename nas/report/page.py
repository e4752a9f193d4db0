"""`nas report`: one HTML file that tells a search to somebody who wasn't there.

Everything is inside the file: pictures as SVG or base64, style as text, no script, no network. Its
words stand in `page.html.j2`; here is what they are about.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas import yamlfile
from nas.errors import ConfigError, NasError, RunError
from nas.files import write_text
from nas.genome import Genome
from nas.report.arms import ExpectedBest, comparison
from nas.report.drawing import draw as drawing
from nas.report.formatting import (
    ARMS,
    UNITS,
    cost_text,
    number_text,
    objective_text,
    proposed_by,
    time_text,
)
from nas.report.front import front_rows, growth
from nas.report.leaderboard import failures, next_commands, ranking, stopped
from nas.report.search_curves import curves
from nas.runs.folder import Run
from nas.study.failures import RULES
from nas.study.objective import ObjectiveSettings
from nas.study.result import Result, result_of
from nas.study.store import Store
from nas.study.trial import Arm, Record

ROWS = 15
TEMPLATE = "page.html.j2"


class Rows(NamedTuple):
    """A table of the page."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_page(path: Path, out: Path | None = None) -> Path:
    """Writes a search's page to `RUN/report/index.html`, or into the folder `out`.

    Raises:
        RunError: There is no search in that folder, or the page can't be written.
    """
    run = Run.open(path)
    target = (out or run.report) / "index.html"
    text = page(run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
    except OSError as error:
        raise RunError(
            f"{target}: can't be written ({error.strerror}); name another --out"
        ) from None
    return target


def page(run: Run) -> str:
    """Returns the page of a run's search as HTML."""
    environment = Environment(
        loader=PackageLoader("nas", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(**_contents(run))


def _contents(run: Run) -> dict[str, Any]:
    """Returns what the template tells, by its names there."""
    records, objective = run.read_search()
    result = result_of(records, objective)
    bests = comparison(records, objective)
    heads, front = front_rows(result)
    has_front = len(front) > 1
    scored = any(row.is_scored for row in records)
    return {
        "title": f"Search {run.path.resolve().name}",
        "goal": objective_text(objective),
        "start": _start(run),
        "limits": [f"{n} at most {cost_text(n, value)}" for n, value in objective.limits.items()],
        "drawn": {arm: sum(row.arm == arm for row in result.trials) for arm in ARMS},
        "tiles": _tiles(records, result),
        "winner": result.best,
        "re_evaluated": bool(result.finalists),
        "picture": result.best and _picture(result.best),
        "leaderboard": _leaderboard(result),
        "front": Rows(heads, front) if has_front else None,
        "growth": growth(records, objective) if has_front else "",
        "curves": _curves(records, result) if scored else "",
        "arms": _arms(bests) if bests else None,
        "verdict": _verdict(bests) if bests else "",
        "compared": bests["control"].trials if bests else 0,
        "without_score": _without_score(records, objective),
        "free": _free(records),
        "commands": _commands(run),
        "config": _text(run.config),
        "machine": _machine(run),
    }


def _start(run: Run) -> str | None:
    """Returns what trials started from: names and digests; None from scratch, or where unknown."""
    with Store.open_readonly(run.store) as rows:
        evaluator = rows.settings.get("evaluator")
    init = evaluator.get("init") if isinstance(evaluator, dict) else None
    return None if init is None else str(init)


def _tiles(records: Sequence[Record], result: Result) -> list[tuple[str, str]]:
    objective = result.objective
    work = sum(row.seconds for row in records if row.cached_from is None)
    clock = max((row.clock for row in records), default=0.0)
    tiles = [
        (str(len(result.trials)), "trials that cost budget"),
        (time_text(clock), "from start to end"),
        (time_text(work), "of training in all"),
    ]
    if result.best_observed is not None:
        name = f"highest single {objective.score_name}"
        tiles.append((number_text(objective.score(result.best_observed)), name))
    if result.finalists:
        name = f"the winner's mean {objective.score_name} re-evaluated"
        tiles.append((number_text(result.finalists[0].mean), name))
    return tiles


def _picture(best: Record) -> Markup | None:
    """Draws the network as SVG; None in a search over something else than networks."""
    try:
        genome = Genome.from_json(best.candidate_json)
    except NasError:
        return None
    picture = drawing.svg(genome.replace(name=genome.name or f"trial {best.number}"))
    return Markup(picture[picture.index("<svg") :])  # noqa: S704  the drawing escapes its names


def _leaderboard(result: Result) -> Rows | None:
    ranked, objective = ranking(result), result.objective
    if not ranked:
        return None
    costs = [n for n in UNITS if n != "bits" and any(n in row.costs for row, _ in ranked)]
    beside = [] if objective.shape is None else [objective.maximize]
    heads = ["#", "trial", "proposed by", objective.score_name, *beside, *costs, "time"]
    if result.finalists:
        heads.insert(3, "re-evaluated")
    rows = []
    for place, (row, again) in enumerate(ranked[:ROWS], start=1):
        cells = [str(place), str(row.number), proposed_by(row), number_text(objective.score(row))]
        if result.finalists:
            points = " ".join(f"{value:.3f}" for value in again.rewards) if again else ""
            mean = f"{again.mean:.3f} ({points})" if again else "–"
            cells.insert(3, mean)
        cells += [number_text(row.metrics[name]) for name in beside]
        cells += [cost_text(name, row.costs.get(name)) for name in costs]
        rows.append([*cells, time_text(row.seconds)])
    return Rows(heads, rows)


def _curves(records: Sequence[Record], result: Result) -> str:
    return base64.b64encode(curves(records, result.objective, result.finalists)).decode()


def _arms(bests: Mapping[Arm, ExpectedBest]) -> Rows:
    rows = [
        [ARMS[arm], number_text(best.mean), f"{best.low:.3f} to {best.high:.3f}"]
        for arm, best in bests.items()
    ]
    trials = bests["control"].trials
    return Rows(["arm", f"expected best of {trials} trials", "95 % interval"], rows)


def _verdict(bests: Mapping[Arm, ExpectedBest]) -> str:
    ours, random = bests["controller"], bests["control"]
    if ours.low > random.high:
        return "In this search, yes."
    if ours.high < random.low:
        return "In this search, no: random draws did better."
    return "Not distinguishable: the two intervals overlap."


def _without_score(records: Sequence[Record], objective: ObjectiveSettings) -> Rows:
    early = stopped(records)
    rows = []
    if early:
        row = early[-1]
        value = number_text(row.metrics.get(objective.maximize))
        reason = f"{objective.maximize} {value} at report {len(row.curve)}, and so fell behind"
        rows.append(["stopped early", str(len(early)), reason])
    for kind, count in failures(records).items():
        last = next(
            row.failure.message
            for row in reversed(records)
            if row.failure and row.failure.kind.value.replace("_", " ") == kind
        )
        rows.append([kind, str(count), last[:200]])
    return Rows(["kind", "trials", "the last one said"], rows)


def _free(records: Sequence[Record]) -> int:
    """Counts the failed trials that cost no budget."""
    failed = [row.failure for row in records if row.failure and row.cached_from is None]
    return sum(not RULES[failure.kind].charged for failure in failed)


def _commands(run: Run) -> list[str]:
    data, final = _data_of(run), shlex.quote(f"{run.path}-final")
    return [
        next_commands(run.path, data)[0],
        f"nas eval {final} --data {shlex.quote(str(data)) if data else 'DIR'}",
        f"nas export {final} --format json,onnx",
    ]


def _data_of(run: Run) -> Path | None:
    """Returns the data folder, as the resolved config has it."""
    try:
        data = yamlfile.read_table(run.config).get("data_dir")
    except ConfigError:
        return None
    return Path(data) if isinstance(data, str) else None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _machine(run: Run) -> str | None:
    """Describes the machine of the last start."""
    if not run.environment.is_file():
        return None
    try:
        return json.dumps(json.loads(run.environment.read_text(encoding="utf-8"))[-1], indent=1)
    except (ValueError, LookupError, TypeError):
        return "env.json is damaged"
