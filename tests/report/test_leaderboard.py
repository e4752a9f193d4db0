"""Tables and last lines, read as a user does: at 80 columns, without colours."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from nas.errors import RunError
from nas.report.formatting import cost_text, objective_text, time_text
from nas.report.leaderboard import closing, failed_lines, leaderboard, ranking, standing, top
from nas.runs.folder import Run
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings, RewardShape
from nas.study.result import Result, result_of
from nas.study.trial import Record, Status


def shown(item: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(item)
    return capture.get()


def test_winner_comes_first_and_nothing_is_cut(run: tuple[Path, Result]) -> None:
    text = shown(leaderboard(run[1]))
    assert "…" not in text
    rows = [
        line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0].isdigit()
    ]
    assert [int(row[0]) for row in rows] == list(range(1, 11))
    best = run[1].finalists[0]
    assert int(rows[0][1]) == best.record.number
    assert rows[0][3] == f"{best.mean:.3f}" and rows[0][4] == "±"
    assert all(name in text for name in ("ap50", "params", "macs", "re-evaluated", "random"))


def test_each_candidate_stands_once(run: tuple[Path, Result]) -> None:
    ranked = ranking(run[1])
    keys = [row.key for row, _ in ranked]
    assert len(keys) == len(set(keys))
    rewards = [row.reward or 0 for row, again in ranked if again is None]
    assert rewards == sorted(rewards, reverse=True)
    means = [again.mean for _, again in ranked if again]
    assert means == sorted(means, reverse=True) and len(means) == len(run[1].finalists)


def test_top_reads_the_folder_and_tells_failures(run: tuple[Path, Result]) -> None:
    text = shown(top(run[0], 3))
    scored = sum(row.is_scored for row in run[1].trials)
    assert f"{scored} trials scored" in text and "× error" in text and "× over limit" in text


def test_trials_that_were_stopped_early_are_counted(halved: Path) -> None:
    records, _ = Run(halved).read_search()
    kinds = Counter(row.status for row in records if row.cached_from is None)
    assert kinds[Status.STOPPED] > 1
    told = f"{kinds[Status.DONE]} trials scored, {kinds[Status.STOPPED]} stopped early"
    assert standing(records).startswith(told)
    assert kinds[Status.DONE] + kinds[Status.STOPPED] == 12


def test_a_training_has_no_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("job: train\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds a training.*metrics\.json"):
        top(tmp_path)


def test_top_of_a_folder_without_a_search_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        top(tmp_path)
    assert "\n" not in str(caught.value)


def test_last_lines_can_be_pasted(run: tuple[Path, Result]) -> None:
    text = shown(closing(run[0], run[1], Path("/data/my photos")), width=300)
    assert f"run: {run[0]}" in text
    command = next(line for line in text.splitlines() if "nas train" in line)
    words = shlex.split(command)
    assert words[:2] == ["nas", "train"]
    assert words[words.index("--genome") + 1] == str(run[0])
    assert words[words.index("--data") + 1] == "/data/my photos"


def test_a_winner_by_chance_is_called_one(run: tuple[Path, Result]) -> None:
    def score(candidate: dict[str, int], seed: int) -> dict[str, float]:
        return {"ap50": 0.0}

    blind = search(ChoiceSpace({"a": [0, 1, 2]}), score, "random", budget=3, objective="ap50")
    assert "note: ap50 is 0 in all trials" in shown(closing(run[0], blind), width=300)
    assert "note:" not in shown(closing(*run), width=300)


def test_a_winner_far_from_its_target_is_pointed_out(run: tuple[Path, Result]) -> None:
    def shown_for(best: int) -> str:
        found = search(
            ChoiceSpace({"ms": [20, 32, 40]}),
            lambda candidate, seed: 0.5 * (candidate["ms"] == best),
            "random",
            budget=3,
            objective=ObjectiveSettings(
                maximize="score", shape=RewardShape(cost="latency_ms", target=30)
            ),
            costs=lambda candidate: {"latency_ms": candidate["ms"]},
        )
        return shown(closing(run[0], found), width=300)

    told = shown_for(40)
    assert "note: the winner's latency_ms is 40 ms, and the target 30 ms: score changes" in told
    assert "--set objective.shape.weight=-0.3" in told and "note:" not in shown_for(32)


def test_a_search_without_scores_says_so(tmp_path: Path) -> None:
    empty = result_of([], ObjectiveSettings())
    assert "no trial has a score yet" in shown(leaderboard(empty))
    assert f"nas resume {tmp_path}" in shown(closing(tmp_path, empty), width=300)
    assert standing([]) == "0 trials scored"


def test_rows_of_the_store_are_the_rows_of_the_result(run: tuple[Path, Result]) -> None:
    records, objective = Run(run[0]).read_search()
    assert objective.maximize == "ap50" and objective.limits == {"params": 26e6}
    again = result_of(records, objective)
    assert [row.number for row in again.trials] == [row.number for row in run[1].trials]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("params", 28.54e6, "28.54 M"),
        ("macs", 85.28e9, "85.28 G"),
        ("latency_ms", 12.0, "12 ms"),
        ("params", None, "–"),
    ],
)
def test_costs_have_units(name: str, value: float | None, text: str) -> None:
    assert cost_text(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (120, "2 min"), (11100, "3 h 05 min")]
)
def test_times_read_well(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_a_shaped_reward_stands_beside_its_metric(run: tuple[Path, Result]) -> None:
    records, objective = Run(run[0]).read_search()
    shape = RewardShape(kind="hard", cost="params", target=20e6)
    result = result_of(records, objective.model_copy(update={"shape": shape}))
    lines = shown(leaderboard(result)).splitlines()
    assert all(name in lines[2] for name in ("reward", "ap50")) and "…" not in "".join(lines)
    best = result.best_observed
    assert best is not None
    value = best.metrics["ap50"] / max(1.0, best.costs["params"] / 20e6)
    assert result.objective.score(best) == pytest.approx(value)
    row = next(line.split() for line in lines if f" {best.number} " in f" {line} ")
    assert {f"{value:.3f}", f"{best.metrics['ap50']:.3f}"} <= set(row)


def test_a_latency_beside_the_other_costs_fits_too(run: tuple[Path, Result]) -> None:
    records, objective = Run(run[0]).read_search()
    costly = [replace(row, costs={**row.costs, "latency_ms": 12.34}) for row in records]
    text = shown(leaderboard(result_of(costly, objective)))
    assert "…" not in text and "latency" in text and "12.34 ms" in text and "re-evaluated" in text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "ap50"),
        ({"minimize": ["macs", "params"], "spread": True}, "ap50 against macs, params"),
        ({"shape": {"kind": "soft", "cost": "macs", "target": 3e10}}, "ap50 · (macs / 30 G)^-0.07"),
        (
            {"shape": {"kind": "hard", "cost": "params", "target": 2e7, "weight": -2}},
            "ap50 · max(1, params / 20 M)^-2",
        ),
        (
            {"shape": {"kind": "absolute", "cost": "latency_ms", "target": 84}},
            "ap50 - 0.1 · |latency_ms / 84 ms - 1|",
        ),
    ],
)
def test_an_objective_in_words(settings: dict[str, Any], text: str) -> None:
    assert objective_text(ObjectiveSettings.model_validate(settings)) == text


def failed(number: int, message: str, kind: FailureKind = FailureKind.ERROR) -> Record:
    row = Record(number, "controller", "controller", "search", (number,), "k", 0)
    row.status, row.failure = Status.FAILED, Failure(kind, message)
    return row


def test_failures_are_told_with_their_trials_and_reasons() -> None:
    rows = [failed(n, "ValueError: too few images") for n in (3, 4, 7, 9, 12)]
    rows += [failed(8, "params 3 % over", FailureKind.OVER_LIMIT)]
    rows += [failed(5, "RuntimeError: [odd]"), failed(6, "loss", FailureKind.NOT_FINITE)]
    assert failed_lines(rows) == [
        "trials 3, 4, 7 and 2 more: error: ValueError: too few images",
        "trial 5: error: RuntimeError: [odd]",
        "trial 6: not finite: loss",
    ]
    many = failed_lines([failed(n, f"reason {n}") for n in range(9)])
    assert many[-1] == "4 more failed for 4 other reasons" and len(many) == 6
    assert failed_lines([]) == []


def test_top_lists_what_failed(run: tuple[Path, Result]) -> None:
    text = shown(top(run[0]), width=300)
    assert re.search(r"^trials? \d.*: error: RuntimeError: <b>shapes</b> differ & more", text, re.M)
