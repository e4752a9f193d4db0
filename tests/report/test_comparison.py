"""What may be said of two searches, on rows and sums worked by hand."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence

import pytest
from rich.console import Console

from nas.report.comparison import (
    Compared,
    Comparison,
    Search,
    differing,
    expected_bests,
    reevaluations,
    same_trials,
    search_scores,
    shown,
)
from nas.report.intervals import Interval
from nas.study.objective import ObjectiveSettings
from nas.study.result import result_of
from nas.study.trial import Phase, Record, Status

NAMES = ("a", "b")


def row(number: int, reward: float, key: str, seed: int, phase: Phase = "search") -> Record:
    return Record(
        number,
        "controller",
        "controller",
        phase,
        (number,),
        key,
        seed,
        status=Status.DONE,
        tell_seq=number + 1,
        metrics={"score": reward},
        reward=reward,
        seconds=60,
        clock=100 * number,
    )


def search(
    trials: Mapping[str, float], looks: Mapping[int, float] | None = None, *, length: int = 1
) -> Search:
    """Trials by key, all with seed 1; re-evaluations of the first key by seed."""
    rows = [row(n, reward, key, 1) for n, (key, reward) in enumerate(trials.items())]
    for seed, reward in (looks or {}).items():
        again = row(len(rows), reward, next(iter(trials)), seed, "finalist")
        again.length = length
        rows.append(again)
    return Search(rows, result_of(rows, ObjectiveSettings(maximize="score")))


def test_trials_with_one_key_and_seed_pair() -> None:
    first = search({"k0": 0.3, "k1": 0.5, "k2": 0.7})
    second = search({"k1": 0.3, "k3": 0.9, "k0": 0.2, "k2": 0.1})
    second.records[3].seed = 2  # the same architecture with another seed is no pair
    found = same_trials(first, second)
    assert found is not None and found.interval is not None
    assert (found.first, found.second) == pytest.approx((0.4, 0.25))
    # Differences 0.1 and 0.2: standard error 0.05, one degree of freedom.
    assert found.interval == pytest.approx((0.15, 0.15 - 0.6353, 0.15 + 0.6353), abs=1e-4)
    assert found.basis.startswith("2 pairs") and found.verdict(NAMES) == "not distinguishable"


def test_a_shared_result_is_no_pair() -> None:
    first, second = search({"k0": 0.3}), search({"k0": 0.2})
    second.records[0].cached_from = 7
    assert same_trials(first, second) is None
    assert same_trials(first, search({"k1": 0.2})) is None


def test_a_single_pair_claims_nothing() -> None:
    found = same_trials(search({"k0": 0.9}), search({"k0": 0.1}))
    assert found is not None and found.interval is None
    assert found.difference == pytest.approx(0.8)
    assert found.verdict(NAMES) == "no verdict" and "single pair" in found.basis


def test_reevaluations_without_common_seeds() -> None:
    first = search({"k0": 0.5}, {11: 0.4, 12: 0.5, 13: 0.6})
    second = search({"k1": 0.5}, {21: 0.1, 22: 0.2, 23: 0.3})
    found = reevaluations(first, second)
    assert found is not None and found.interval is not None
    # Variances 0.01: standard error 0.1 √(2/3), four degrees of freedom.
    assert found.interval == pytest.approx((0.3, 0.3 - 0.226696, 0.3 + 0.226696), abs=1e-5)
    assert found.verdict(NAMES) == "a is higher" and "Welch" in found.basis
    swapped = reevaluations(second, first)
    assert swapped is not None and swapped.verdict(NAMES) == "b is higher"


def test_reevaluations_with_common_seeds_pair() -> None:
    first = search({"k0": 0.5}, {11: 0.4, 12: 0.5, 13: 0.6})
    second = search({"k0": 0.5}, {13: 0.6, 12: 0.4, 11: 0.3})
    found = reevaluations(first, second)
    assert found is not None and found.interval is not None
    # Differences 0.1, 0.1, 0: deviation 0.057735, two degrees of freedom.
    mean, reach = 0.2 / 3, 4.302653 * 0.0577350 / 3**0.5
    assert found.interval == pytest.approx((mean, mean - reach, mean + reach), abs=1e-5)
    assert found.basis.startswith("3 pairs")


@pytest.mark.parametrize(
    ("looks", "length", "why"),
    [({21: 0.1}, 1, "single seed"), ({21: 0.1, 22: 0.1, 23: 0.1}, 3, "1 and 3 times")],
)
def test_reevaluations_that_tell_nothing(looks: dict[int, float], length: int, why: str) -> None:
    first = search({"k0": 0.5}, {11: 0.9, 12: 0.9, 13: 0.9})
    found = reevaluations(first, search({"k1": 0.5}, looks, length=length))
    assert found is not None and found.interval is None and why in found.basis
    assert reevaluations(first, search({"k1": 0.5})) is None


def test_only_the_longest_look_counts() -> None:
    short = row(5, 0.9, "k0", 99, "finalist")
    one = search({"k0": 0.5}, {11: 0.4, 12: 0.6}, length=3)
    mixed = Search([*one.records, short], one.result)
    assert mixed.length == 3 and mixed.winner_scores() == {11: 0.4, 12: 0.6}


def expected(rewards: Sequence[float], trials: int) -> float:
    return statistics.fmean(max(draw) for draw in itertools.product(rewards, repeat=trials))


def test_expected_best_of_equally_many() -> None:
    few, many = (0.1, 0.2, 0.4), (0.1, 0.3, 0.2, 0.5)
    found = expected_bests(
        search({f"k{n}": reward for n, reward in enumerate(few)}),
        search({f"k{n}": reward for n, reward in enumerate(many)}),
    )
    assert found is not None and found.name == "expected best of 3" and found.interval is not None
    assert (found.first, found.second) == pytest.approx((expected(few, 3), expected(many, 3)))
    assert found.interval.low < found.difference < found.interval.high
    assert found.verdict(NAMES) == "not distinguishable"
    assert expected_bests(search({"k0": 0.1}), search({"k0": 0.1, "k1": 0.2})) is None


def test_searches_far_apart_can_be_told_apart() -> None:
    low = search({f"k{n}": 0.1 + n / 1000 for n in range(10)})
    high = search({f"j{n}": 0.5 + n / 1000 for n in range(12)})
    (found,) = search_scores(low, high)
    assert found.verdict(NAMES) == "b is higher" and "10 and 12 trials" in found.basis


def test_costs_are_those_of_rows_that_ran() -> None:
    one = search({"k0": 0.5, "k1": 0.4, "k2": 0.3})
    one.records[0].costs = {"params": 28.5e6, "bits": 1.0}
    one.records[2].cached_from = 1
    costs = one.costs()
    assert costs["of training in all"] == "2 min" and costs["from start to end"] == "3 min"
    assert costs["the winner's params"] == "28.5 M" and costs["trials"] == "3"


def test_settings_that_differ() -> None:
    first = {"seed": 1, "data": {"share": 0.1, "by": "blocks"}, "limits": {"params": 3.0}}
    second = {"seed": 2, "data": {"share": 0.1, "by": "images"}, "limits": {}}
    assert differing(first, first) == {}
    assert differing(first, second) == {
        "data.by": ("blocks", "images"),
        "limits.params": (3.0, "not set"),
        "seed": (1, 2),
    }


def test_it_reads_at_80_columns_and_files_cant_steer_the_terminal() -> None:
    rows = (
        Compared("same architecture and seed", 0.312, 0.301, None, "a single pair"),
        Compared("expected best of 40", 0.4, 0.3, Interval(0.1, -0.02, 0.22), "bootstrap"),
    )
    settings = {"genome": ("[red]x[/red]", "\x1b[2J"), "steps": ([1] * 99, None)}
    costs = {"trials": ("40", "80")}
    comparison = Comparison(("ppo", "random"), "ap50", rows, costs, settings, ("yes.",))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(shown(comparison))
    text = capture.get()
    assert "[red]x[/red]" in text and "\x1b" not in text and text.endswith("yes.\n")
    (line,) = (line for line in text.splitlines() if "expected" in line)
    assert line.split()[3:] == ["40", "0.400", "0.300", "+0.1000", "-0.0200", "to", "+0.2200"]
