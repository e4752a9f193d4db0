"""Budgets in hours: what they pay for, the forecast, and that a run ends on time with its best."""

from __future__ import annotations

import dataclasses
import heapq
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nas.errors import ConfigError
from nas.executors import ComputeSettings
from nas.executors.inline import InlineExecutor
from nas.executors.ray.executor import RayExecutor
from nas.searching import search
from nas.study.budget import Budget, Forecast, Plan, Timetable
from nas.study.interfaces import Event
from nas.study.result import result_of
from nas.study.settings import ControlSettings, FinalistSettings, StudySettings
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome, Status, Trial
from tests.engine.toys import SPACES, Mixed, drive, make_study, scored, total

NONE = ControlSettings(share=0.0)
ONE_ARM: dict[str, Any] = {"control": NONE}
HOURS = Plan(seconds=8 * 3600.0, retrain_share=0.4, workers=2, reevaluations=18, length=3)
Lasts = Callable[[Trial], float]


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def simulate(study: Study, clock: Clock, workers: int, lasts: Lasts) -> None:
    """Does as an executor does, which looks at the clock every ten seconds at least."""
    running: list[tuple[float, int, Trial, float]] = []
    while not study.end_if_late():
        while len(running) < workers and (trial := study.ask()):
            seconds = lasts(trial)
            heapq.heappush(running, (clock.now + seconds, trial.number, trial, seconds))
        if not running:
            return
        end, _, trial, seconds = running[0]
        if end > clock.now + 10.0:
            clock.now += 10.0
            continue
        heapq.heappop(running)
        clock.now = max(clock.now, end)
        study.tell(trial, Outcome(metrics={"score": total(trial.candidate, 0)}, seconds=seconds))


def timed(plan: Plan, *seconds: float) -> Timetable:
    times = Timetable(plan)
    for value in seconds:
        times.add(value, full=True)
    return times


# The arithmetic, by hand


def test_hours_are_shared_out() -> None:
    assert HOURS.retraining == pytest.approx(11_520) and HOURS.end == pytest.approx(17_280)
    times = timed(HOURS, 120, 120, 120, 120)
    # 9 rounds of 360 s are 3240 s, before which a fifth, or a tenth, of that is kept free.
    assert times.done_by == pytest.approx(17_280 - 3_888)
    assert times.cut_at == pytest.approx(17_280 - 3_564)
    # In the 13,152 s that are left, two workers do 219.2 trials of 120 s.
    found = times.forecast(240.0, completed=4)
    assert found and dataclasses.astuple(found) == pytest.approx((223, 3_240, 17_040, 11_520))


def test_stopped_trials_count_for_the_pace_and_not_for_the_reevaluation() -> None:
    times = timed(Plan(seconds=10_000.0, reevaluations=2, length=2), 60, 300, 100)
    times.add(20, full=False)
    assert (times.trial_seconds, times.mean_seconds) == (100, 120)
    # 10,000 s without 1.2 × 2 × 200 s leave 9,520 s, of which 520 are over.
    assert times.forecast(520.0, completed=4) == Forecast(4 + 75, 400.0, 9_480.0, 0.0)


def test_the_usual_trial_is_the_median() -> None:
    rng, times, seconds = random.Random(0), Timetable(Plan()), list[float]()
    for _ in range(30):
        seconds.append(rng.choice((0.1, 7.0, rng.uniform(0.0, 100.0))))
        times.add(seconds[-1], full=True)
        assert times.trial_seconds == statistics.median(seconds)


def test_a_short_budget_goes_to_trials_first() -> None:
    times = timed(Plan(seconds=3600.0, reevaluations=18, length=3), 360)
    assert times.done_by == 3600 - 1.2 * 1800  # not 18 × 3 × 360 s, but half of the hour


def test_what_would_end_late_is_not_begun() -> None:
    times = timed(Plan(seconds=1000.0), 100)
    assert times.fits(900.0) and not times.fits(900.1)
    assert not times.is_over(999.9) and times.is_over(1000.0)
    times = timed(Plan(seconds=1000.0, reevaluations=1, length=2), 100)
    assert times.fits(660.0) and not times.fits(660.1)  # 240 s are for the re-evaluation
    times.begin_reevaluation(2)
    assert times.fits(800.0) and not times.fits(800.1)


def test_before_anything_is_timed_all_of_the_time_counts() -> None:
    times = Timetable(HOURS)
    assert times.fits(17_279.0) and not times.fits(17_280.1)
    assert times.forecast(0.0, completed=0) is None
    assert timed(HOURS, 120, 120, 120).forecast(240.0, completed=3) is None  # two of each worker


def test_a_budget_in_trials_has_a_forecast_and_no_end() -> None:
    times = timed(Plan(trials=40, workers=2, reevaluations=6, length=3), 40, 60, 50, 50)
    assert times.fits(1e9) and not times.is_over(1e9)
    # 36 trials of 50 s on two workers, then 3 rounds of 150 s.
    assert times.forecast(100.0, completed=4) == Forecast(40, 450.0, 900.0 + 450.0, 0.0)
    times.begin_reevaluation(3)
    assert times.forecast(1000.0, completed=40) is None


def test_a_plan_knows_arms_and_reevaluations() -> None:
    finalists = FinalistSettings(count=2, repeats=3, length=4)
    for share, count in ((0.0, 6), (0.2, 12), (0.5, 12), (1.0, 6)):
        control = ControlSettings(share=share)
        settings = StudySettings(retrain_share=0.4, control=control, finalists=finalists)
        plan = Budget.parse("10h").plan(settings, 3)
        assert (plan.reevaluations, plan.length, plan.workers) == (count, 4, 3)
        assert plan.end == pytest.approx(6 * 3600)
    settings = StudySettings(retrain_share=0.4, control=NONE)
    assert Budget.parse(120).plan(settings, 1) == Plan(trials=120, retrain_share=0.4)
    with pytest.raises(ConfigError, match=r"retrain_share is 1; .*less than 1"):
        Budget.parse("8h").plan(StudySettings(retrain_share=1.0), 1)


# Studies on an injected clock


def test_trials_and_reevaluation_share_an_hour() -> None:
    clock, finalists = Clock(500.0), FinalistSettings(count=2, repeats=3, length=3)
    study = make_study(budget="1h", clock=clock, finalists=finalists, **ONE_ARM)
    simulate(study, clock, 1, lambda trial: 100.0)
    # 6 × 300 s, and a fifth more, leave 1440 s: 14 trials.
    assert study.completed == 14 and study.clock == 1400
    assert study.start_finalists(finalists) == 6
    simulate(study, clock, 1, lambda trial: 300.0)
    again = [row for row in study.records.values() if row.phase == "finalist"]
    assert all(row.status is Status.DONE for row in again) and study.clock == 3200


def test_a_reevaluation_that_takes_too_long_has_scored_all_alike() -> None:
    clock, finalists = Clock(), FinalistSettings(count=2, repeats=3, length=3)
    store = Store.open(None)
    study = make_study(store, budget="1h", clock=clock, finalists=finalists, **ONE_ARM)
    simulate(study, clock, 1, lambda trial: 100.0)
    assert study.start_finalists(finalists) == 6
    simulate(study, clock, 1, lambda trial: 500.0)  # and not 300
    assert study.clock == 1400 + 4 * 500
    again = [row for row in study.records.values() if row.phase == "finalist"]
    looks = Counter(row.key for row in again if row.status is Status.DONE)
    assert sorted(looks.values()) == [2, 2]
    assert [row.status for row in again[4:]] == [Status.WITHDRAWN] * 2
    result = result_of(study.records.values(), study.objective)
    assert result.best is not None and {len(f.rewards) for f in result.finalists} == {2}
    later = make_study(store, budget="1h", clock=Clock(), finalists=finalists, **ONE_ARM)
    assert later.start_finalists(finalists) == 0 and len(later.records) == len(study.records)


@pytest.mark.parametrize("seed", range(5))
def test_a_run_ends_on_time_with_its_best(seed: int) -> None:
    clock, finalists = Clock(), FinalistSettings(count=3, repeats=3, length=3)
    rng = random.Random(seed)

    def lasts(trial: Trial) -> float:
        return trial.length * rng.uniform(60.0, 180.0)

    study = make_study(
        seed=seed,
        budget="8h",
        retrain_share=0.4,
        clock=clock,
        finalists=finalists,
        workers=2,
        max_failures=0.0,
    )
    simulate(study, clock, 2, lasts)
    forecast = study.forecast()
    assert forecast is not None and forecast.trials == pytest.approx(study.completed, abs=2)
    assert study.start_finalists(finalists) == 18
    simulate(study, clock, 2, lasts)
    assert study.clock <= 0.6 * 8 * 3600 + 10
    rows = [row for row in study.records.values() if row.phase == "finalist"]
    assert sum(row.status is Status.DONE for row in rows) >= 17
    assert not any(row.failure for row in study.records.values())
    best = result_of(study.records.values(), study.objective).best
    assert best is not None and best.key in {row.key for row in rows}


def test_an_early_forecast_comes_true() -> None:
    clock, finalists = Clock(), FinalistSettings(count=1, repeats=2, length=2)
    study = make_study(budget="2h", clock=clock, finalists=finalists, workers=2)
    rng, said = random.Random(0), list[int]()

    def lasts(trial: Trial) -> float:
        if forecast := study.forecast():
            said.append(forecast.trials)
        return rng.uniform(40.0, 80.0)

    simulate(study, clock, 2, lasts)
    assert said[0] == pytest.approx(study.completed, rel=0.2)
    assert said[-1] == pytest.approx(study.completed, abs=2)


def test_what_still_runs_when_the_time_is_up_counts_as_never_tried() -> None:
    clock, store = Clock(), Store.open(None)
    study = make_study(store, "ppo", budget="1h", clock=clock, max_failures=0.0)
    trials = [trial for _ in range(12) if (trial := study.ask())]
    study.tell(trials[0], scored(1.0))
    clock.now = 3599.0
    assert not study.end_if_late()
    clock.now = 3600.0
    assert study.end_if_late() and study.in_flight == 0 and study.idle_seconds() is None
    assert not study.tell(trials[1], scored(9.0))  # too late
    rows = list(study.records.values())
    assert all(row.status is Status.WITHDRAWN and not row.failure for row in rows[1:])
    assert [row.charged for row in rows] == [True] + [False] * 11 and study.completed == 1
    assert study.start_finalists(FinalistSettings()) == 0
    longer = make_study(store, "ppo", budget="2h", clock=Clock(), max_failures=0.0)
    again = longer.ask()
    assert again is not None and again.number == 12 and longer.clock == 3600.0


def test_the_time_goes_on_over_sessions() -> None:
    store, whole = Store.open(None), Clock()
    options: dict[str, Any] = {"budget": "1h", **ONE_ARM}
    for start in (0.0, 7e5, 50.0):
        clock = Clock(start)
        study = make_study(store, clock=clock, **options)
        stop = study.clock + 1500.0
        while study.clock < stop and (trial := study.ask()):
            clock.now += 100.0
            study.tell(trial, Outcome(metrics={"score": 1.0}, seconds=100.0))
        study.release()
    once = make_study(clock=whole, **options)
    simulate(once, whole, 1, lambda trial: 100.0)
    assert study.completed == once.completed == 36 and study.clock == once.clock == 3600.0


def test_a_budget_in_trials_takes_the_time_it_takes() -> None:
    clock, finalists = Clock(), FinalistSettings(count=1, repeats=2)
    study = make_study(budget=20, retrain_share=0.4, clock=clock, finalists=finalists)
    simulate(study, clock, 3, lambda trial: 1e4)
    assert study.completed == 20 and study.start_finalists(finalists) == 4
    assert [row.code for row in study.records.values()][:20] == [
        trial.code for trial in drive(make_study(budget=20), limit=20)
    ]


# Executors


def test_inline_ends_between_reports() -> None:
    clock = Clock()

    def endless(candidate: dict[str, int], seed: int) -> Iterator[float]:
        while True:
            clock.now += 100.0
            yield clock.now

    study, events = make_study(budget="10m", clock=clock), list[Event]()
    InlineExecutor(ComputeSettings(executor="inline")).run(study, endless, events.append)
    assert clock.now == 600.0 and [event.kind for event in events] == ["asked"] + ["rung"] * 6
    assert [row.status for row in study.records.values()] == [Status.WITHDRAWN]


@pytest.mark.faults
def test_ray_ends_what_runs(tmp_path: Any) -> None:
    clock, space = Clock(), SPACES["one decision"]()

    def late(event: Event) -> None:
        clock.now = 3600.0

    study = make_study(space=space, budget="1h", clock=clock)
    hanging = Mixed(tmp_path, dict.fromkeys("abcdefgh", "hang"))  # type: ignore[arg-type]
    RayExecutor(ComputeSettings(workers=1)).run(study, hanging, late)
    assert [row.status for row in study.records.values()] == [Status.WITHDRAWN]


def test_events_carry_the_forecast() -> None:
    events: list[Event] = []
    search(SPACES["product"](), total, "random", budget=6, on_event=events.append)
    told = [event.forecast for event in events if event.kind == "completed"]
    assert told[0] is None and all(found and found.trials == 6 for found in told[1:])
    assert all(event.forecast is None for event in events if event.kind != "completed")
