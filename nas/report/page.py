"""`nas report`: one HTML file that tells a search to somebody who wasn't there.

Everything is inside the file: pictures as SVG or base64, style as text, no script, no network.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.errors import NasError, RunError
from nas.files import write_text
from nas.genome import Genome
from nas.report.arms import ExpectedBest, comparison
from nas.report.curves import curves
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
from nas.runs import Run
from nas.study.failures import RULES
from nas.study.objective import ObjectiveSettings
from nas.study.result import Result, result_of
from nas.study.trial import Arm, Record

ROWS = 15
STYLE = """
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1d2733;
background:#fff;max-width:1080px;margin:40px auto;padding:0 24px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:20px;margin:40px 0 8px}
p.lead{color:#4b5866;margin-top:0}small,.soft{color:#6b7785}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:15px}
th{text-align:left;color:#6b7785;font-weight:600;border-bottom:2px solid #dfe4e9;padding:6px 10px}
td{border-bottom:1px solid #eef1f4;padding:6px 10px}td.n,th.n{text-align:right}
tr.best td{background:#f3f8ee}
pre{background:#f5f7f9;border-radius:8px;padding:12px 16px;overflow-x:auto;font-size:14px}
svg,img{max-width:100%;height:auto}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{background:#f5f7f9;border-radius:10px;padding:12px 18px;min-width:120px}
.tile b{display:block;font-size:22px}
summary{cursor:pointer;color:#4b5866}
"""


def write_page(path: Path, out: Path | None = None) -> Path:
    """Writes a search's page to ``RUN/report/index.html``, or into the folder ``out``.

    Raises:
        RunError: there is no search in that folder, or the page can't be written.
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
    """The page of a run's search as HTML."""
    records, objective = run.read_search()
    result = result_of(records, objective)
    title = f"Search {run.path.resolve().name}"
    sections = [
        f"<h1>{_safe(title)}</h1>",
        _lead(result, objective),
        _tiles(records, result, objective),
        _winner(result, objective),
        _leaderboard(result, objective),
        _front(records, result, objective),
        _curves(records, result, objective),
        _arms(records, result, objective),
        _without_score(records, objective),
        _next(run),
        _settings(run),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _lead(result: Result, objective: ObjectiveSettings) -> str:
    limits = [f"{_safe(n)} at most {cost_text(n, v)}" for n, v in objective.limits.items()]
    within = f", with {' and '.join(limits)}" if limits else ""
    ours, random = (sum(row.arm == arm for row in result.trials) for arm in ARMS)
    return (
        f'<p class="lead">Architectures were tried one after the other, looking for the highest '
        f"<b>{_safe(objective_text(objective))}</b>{within}. Each trial is a short training on a "
        "part of the training images, scored on images held out from them; the validation images "
        "were not looked at."
        + (
            f" {ours} were proposed by the <b>controller</b>, which learns from the scores; "
            f"{random} are <b>random</b> draws, to see whether the learning pays."
            if ours and random
            else ""
        )
        + "</p>"
    )


def _tiles(records: Sequence[Record], result: Result, objective: ObjectiveSettings) -> str:
    own = [row for row in records if row.cached_from is None]
    work = sum(row.seconds for row in own)
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
        mean = result.finalists[0].mean
        tiles.append(
            (number_text(mean), f"the winner's mean {objective.score_name} on a second look")
        )
    cells = "".join(f'<div class="tile"><b>{_safe(v)}</b>{_safe(n)}</div>' for v, n in tiles)
    return f'<div class="tiles">{cells}</div>'


def _winner(result: Result, objective: ObjectiveSettings) -> str:
    best = result.best
    if best is None:
        return "<h2>The winner</h2><p>No trial has a score yet.</p>"
    text = f"<h2>The winner: trial {best.number}</h2>"
    if not result.finalists:
        text += (
            "<p>It has the highest score of all trials. A single short training is noisy, and the "
            "highest of many is flattered: no second look with fresh seeds was taken (yet).</p>"
        )
    try:
        genome = Genome.from_json(best.candidate_json)
    except NasError:  # a search over something else than networks
        return text + f"<pre>{_safe(best.candidate_json)}</pre>"
    genome = genome.but(name=genome.name or f"trial {best.number}")
    picture = drawing.svg(genome)
    return text + (
        "<p>Each box is a block of the network, in the order in which they are computed, from left "
        "to right. The higher it stands, the coarser its map of the picture. What has a tag, such "
        f"as P4, goes to the part that finds objects.</p>{picture[picture.index('<svg') :]}"
    )


def _leaderboard(result: Result, objective: ObjectiveSettings) -> str:
    ranked = ranking(result)
    if not ranked:
        return ""
    costs = [n for n in UNITS if n != "bits" and any(n in row.costs for row, _ in ranked)]
    beside = [] if objective.shape is None else [objective.maximize]
    heads = ["#", "trial", "proposed by", objective.score_name, *beside, *costs, "time"]
    if result.finalists:
        heads.insert(3, "second look")
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
    note = (
        "<p>The best were trained again with fresh seeds; the mean of these second looks decides."
        " In brackets every seed.</p>"
        if result.finalists
        else ""
    )
    return f"<h2>Leaderboard</h2>{note}{_table(heads, rows, best=True)}"


def _front(records: Sequence[Record], result: Result, objective: ObjectiveSettings) -> str:
    heads, rows = front_rows(result)
    if len(rows) < 2:
        return ""
    return (
        "<h2>What less costs</h2><p>No other trial has both a higher score and lower costs than "
        f"one of these. {_safe(growth(records, objective))}</p>{_table(heads, rows)}"
    )


def _curves(records: Sequence[Record], result: Result, objective: ObjectiveSettings) -> str:
    if not any(row.is_scored for row in records):
        return ""
    data = base64.b64encode(curves(records, objective, result.finalists)).decode()
    return (
        "<h2>How the search went</h2>"
        f'<img alt="best so far and spread" src="data:image/png;base64,{data}">'
    )


def _arms(records: Sequence[Record], result: Result, objective: ObjectiveSettings) -> str:
    bests = comparison(records, objective)
    if not bests:
        return ""
    trials = bests["control"].trials
    rows = [
        [ARMS[arm], number_text(best.mean), f"{best.low:.3f} to {best.high:.3f}"]
        for arm, best in bests.items()
    ]
    heads = ["arm", f"expected best of {trials} trials", "95 % interval"]
    return (
        "<h2>Did the controller beat random draws?</h2>"
        f"<p>{_verdict(bests)} Both are compared at {trials} trials each, as many as the smaller "
        "arm has. One search is one sample: a claim about controllers needs many.</p>"
        + _table(heads, rows)
    )


def _verdict(bests: dict[Arm, ExpectedBest]) -> str:
    ours, random = bests["controller"], bests["control"]
    if ours.low > random.high:
        return "In this search, yes."
    if ours.high < random.low:
        return "In this search, no: random draws did better."
    return "Not distinguishable: the two intervals overlap."


def _without_score(records: Sequence[Record], objective: ObjectiveSettings) -> str:
    early, counts = stopped(records), failures(records)
    text = "<h2>Trials without a score</h2>"
    if not early and not counts:
        return f"{text}<p>None: every trial gave one.</p>"
    rows = []
    if early:
        row = early[-1]
        value = number_text(row.metrics.get(objective.maximize))
        said = f"{objective.maximize} {value} at report {len(row.curve)}, and so fell behind"
        rows.append(["stopped early", str(len(early)), said])
    for kind, count in counts.items():
        last = next(
            row.failure.message
            for row in reversed(records)
            if row.failure and row.failure.kind.value.replace("_", " ") == kind
        )
        rows.append([kind, str(count), last[:200]])
    free = sum(
        not RULES[row.failure.kind].charged
        for row in records
        if row.failure and row.cached_from is None
    )
    note = f"<p>{free} of them cost no budget.</p>" if free else ""
    return text + _table(["kind", "trials", "the last one said"], rows) + note


def _next(run: Run) -> str:
    data, final = _data_of(run), shlex.quote(f"{run.path}-final")
    commands = [
        next_commands(run.path, data)[0],
        f"nas eval {final} --data {shlex.quote(str(data)) if data else 'DIR'}",
        f"nas export {final} --format json,onnx",
    ]
    return (
        "<h2>What to do next</h2><p>Train the winner on all training images, judge it on the "
        "validation images, and export it:</p><pre>" + _safe("\n".join(commands)) + "</pre>"
    )


def _data_of(run: Run) -> Path | None:
    """The data folder, as the resolved config has it on a line of its own."""
    try:
        text = run.config.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^data_dir: (.+)$", text, re.MULTILINE)
    return Path(found[1].strip("'\"")) if found and found[1] != "null" else None


def _settings(run: Run) -> str:
    parts = []
    if run.config.is_file():
        text = run.config.read_text(encoding="utf-8", errors="replace")
        parts.append(f"<details><summary>All settings</summary><pre>{_safe(text)}</pre></details>")
    if run.environment.is_file():
        try:
            starts = json.loads(run.environment.read_text(encoding="utf-8"))
            text = json.dumps(starts[-1], indent=1)
        except (ValueError, LookupError, TypeError):
            text = "env.json is damaged"
        parts.append(
            f"<details><summary>Machine and versions</summary><pre>{_safe(text)}</pre></details>"
        )
    return f"<h2>Settings</h2>{''.join(parts)}" if parts else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], best: bool = False) -> str:
    text = "".join(f"<th>{_safe(head)}</th>" for head in heads)
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{_safe(cell)}</td>" for cell in row)
        lines.append(
            f'<tr class="best">{cells}</tr>' if best and index == 0 else f"<tr>{cells}</tr>"
        )
    return f"<table><thead><tr>{text}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _safe(text: Any) -> str:
    return html.escape(str(text))
