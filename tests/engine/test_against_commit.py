"""Pairs of measurements of two checkouts: what is measured again, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from against_commit import Row, measure_missing, median_interval, table_of


def test_each_pair_is_measured_once_and_the_first_side_alternates(tmp_path: Path) -> None:
    file, calls = tmp_path / "rows.jsonl", list[tuple[str, str, int]]()

    def measure(side: str, name: str, pair: int) -> Row:
        calls.append((side, name, pair))
        return {"seconds": 2.0 if side == "old" else 1.0, "result": [name, pair]}

    measure_missing(["a"], 2, file, measure)
    assert calls == [("old", "a", 0), ("new", "a", 0), ("new", "a", 1), ("old", "a", 1)]
    calls.clear()
    rows = measure_missing(["a", "b"], 2, file, measure)
    assert {name for _, name, _ in calls} == {"b"} and len(calls) == 4
    assert rows == [
        {"name": name, "pair": pair, "old": 2.0, "new": 1.0} for name in "ab" for pair in (0, 1)
    ]
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows


def test_sides_that_do_other_work_are_refused(tmp_path: Path) -> None:
    def measure(side: str, name: str, pair: int) -> Row:
        return {"seconds": 1.0, "result": side}

    with pytest.raises(SystemExit, match="a, pair 0: the sides don't do the same"):
        measure_missing(["a"], 1, tmp_path / "rows.jsonl", measure)
    assert not (tmp_path / "rows.jsonl").exists()


def test_the_interval_holds_the_median() -> None:
    assert median_interval([1.1] * 20) == (1.1, 1.1, 1.1)
    ratios = [0.9 + 0.01 * step for step in range(21)]  # 0.9 to 1.1, whose median is 1.0
    median, least, most = median_interval(ratios)
    assert median == pytest.approx(1.0)
    # The 95 % interval of a median of 21 by order statistics is the 6th to the 16th of them
    # (binomial, p = 1/2), and resampling gives about the same.
    assert 0.94 <= least <= 0.96 and 1.04 <= most <= 1.06


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([1.0] * 20, "yes"),
        ([0.98] * 10 + [1.02] * 10, "yes"),
        ([0.98] * 20, "no"),  # the whole interval is below 1
        ([0.9] * 15 + [1.2] * 5, "no"),  # the median is too low
    ],
)
def test_the_verdict_asks_for_median_and_interval(ratios: list[float], verdict: str) -> None:
    rows: list[Row] = [{"name": "a", "pair": i, "old": r, "new": 1.0} for i, r in enumerate(ratios)]
    assert table_of(rows).splitlines()[-1].endswith(f"| {verdict} |")
