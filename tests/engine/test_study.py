"""The study's rules: failures, cache, limits, arms, budget, deliveries, finalists."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from nas.controllers.base import Controller
from nas.errors import ConfigError, GenomeError, RunError
from nas.space import ChoiceSpace, Code
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings, RewardShape
from nas.study.result import result_of
from nas.study.settings import ControlSettings, FinalistSettings, StudySettings
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome, Status, Trial, trial_seed
from tests.engine.toys import SPACES, drive, failed, make_study, scored, settings_of, total

SPACE = ChoiceSpace({"a": list(range(10)), "b": list(range(10))})


class Scripted(Controller):
    """Proposes what it was given, and writes down what it hears."""

    def __init__(self, script: Sequence[Code], repeats: bool) -> None:
        super().__init__(SPACE, 0)
        self.script, self.heard = script, list[Any]()
        self.repeats = repeats  # type: ignore[misc]

    def propose(self, number: int, draw: int = 0) -> Code:
        return self.script[(number + draw) % len(self.script)]

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self.heard.append(("tell", number, reward, excess))

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self.heard.append(("observe", code, reward, excess))

    def withdraw(self, number: int, code: Code) -> None:
        self.heard.append(("withdraw", number))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def scripted(
    script: Sequence[Code], *, repeats: bool = False, **options: Any
) -> tuple[Study, Scripted]:
    controller = Scripted(script, repeats)
    objective = options.pop("objective", None) or ObjectiveSettings(maximize="score")
    options = {"control": ControlSettings(share=0.0), "budget": 10, **options}
    settings = settings_of(options)
    study = Study(SPACE, controller, objective, Store.open(None), settings, seed=0, **options)
    return study, controller


def asked(study: Study) -> Trial:
    trial = study.ask()
    assert trial is not None
    return trial


def test_a_proposal_is_reproducible_from_its_seed() -> None:
    trial = asked(make_study(seed=5))
    assert trial.seed == trial_seed(5, trial.key, 0) and trial.attempt == 1


@pytest.mark.parametrize(
    ("kind", "attempts", "charged", "heard", "status"),
    [
        (FailureKind.INVALID, 1, 0, [("tell", 1, None, 1.0)], Status.INFEASIBLE),
        (FailureKind.NOT_FINITE, 1, 1, [("tell", 1, 5.0, 1.0)], Status.FAILED),
        (FailureKind.OUT_OF_MEMORY, 2, 1, [("tell", 1, None, 1.0)], Status.FAILED),
        (FailureKind.TIMEOUT, 2, 1, [("tell", 1, None, 1.0)], Status.FAILED),
        (FailureKind.ERROR, 1, 1, [("tell", 1, None, 1.0)], Status.FAILED),
        (FailureKind.LOST, 4, 0, [("withdraw", 1)], Status.WITHDRAWN),
    ],
)
def test_each_kind_of_failure_has_its_rule(
    kind: FailureKind, attempts: int, charged: int, heard: list[Any], status: Status
) -> None:
    clock = Clock()
    study, controller = scripted([(0, 5), (1, 1), (2, 2)], clock=clock)
    study.tell(asked(study), scored(5.0))
    waits, alone = [], []
    for attempt in range(1, attempts + 1):
        trial = asked(study)
        assert (trial.number, trial.attempt) == (1, attempt)
        assert trial.seed == trial_seed(0, trial.key, 0)
        alone.append(trial.alone)
        assert study.tell(trial, failed(kind)) is (attempt == attempts)
        waits.append(study.idle_seconds())
        clock.now += waits[-1] or 0.0
    assert controller.heard[1:] == heard
    assert study.completed == 1 + charged and study.records[1].status is status
    assert alone[1:] == [kind is not FailureKind.LOST] * (attempts - 1)
    if kind is FailureKind.LOST:
        assert waits == [1.0, 4.0, 16.0, None]


def test_a_lost_candidate_may_be_proposed_again() -> None:
    study, _ = scripted([(1, 1)], settings=StudySettings(backoff=()))
    for _ in range(4):
        study.tell(asked(study), failed(FailureKind.LOST))
    again = asked(study)
    assert again.code == (1, 1) and again.number == 1 and again.attempt == 1


def test_a_score_that_is_not_finite_is_a_failure() -> None:
    study, controller = scripted([(0, 0)])
    study.tell(asked(study), scored(float("nan")))
    assert study.records[0].failure and study.records[0].failure.kind is FailureKind.NOT_FINITE
    assert controller.heard == [("tell", 0, 0.0, 1.0)]


def test_the_first_outcome_of_an_attempt_counts() -> None:
    study, controller = scripted([(0, 0), (1, 1)])
    trial = asked(study)
    assert not study.tell(trial, failed(FailureKind.TIMEOUT))
    second = asked(study)
    assert not study.tell(trial, scored(9.0))  # the first attempt comes back late
    assert study.tell(second, scored(1.0))
    assert not study.tell(second, scored(2.0))
    assert controller.heard == [("tell", 0, 1.0, 0.0)]


def test_over_a_limit_costs_no_budget_and_says_by_how_much() -> None:
    objective = ObjectiveSettings(maximize="score", limits={"size": 4})
    study, controller = scripted(
        [(3, 3), (1, 1), (2, 2)],
        objective=objective,
        costs=lambda candidate: {"size": total(candidate, 0)},
        budget=2,
    )
    assert [trial.code for trial in drive(study)] == [(1, 1), (2, 2)]
    assert controller.heard[0] == ("tell", 0, None, pytest.approx(0.5))
    assert study.records[0].status is Status.INFEASIBLE and study.completed == 2


def test_limits_that_nothing_meets_end_the_run() -> None:
    study = make_study(
        objective=ObjectiveSettings(maximize="score", limits={"size": 0.5}),
        costs=lambda candidate: {"size": 9.0},
    )
    with pytest.raises(RunError, match=r"infeasible .*size 18 times the limit.*objective\.limits"):
        study.ask()
    unknown = make_study(objective=ObjectiveSettings(limits={"speed": 1}))
    with pytest.raises(ConfigError, match="speed"):
        unknown.ask()


def test_a_space_may_refuse_a_code() -> None:
    class Refusing(ChoiceSpace):
        def decode(self, code: Any) -> dict[str, Any]:
            if code[0] == 0:
                raise GenomeError("a is 0")
            return super().decode(code)

    study = make_study(space=Refusing({"a": [0, 1, 2], "b": [0, 1, 2]}), budget=50)
    assert {trial.code[0] for trial in drive(study)} == {1, 2}
    invalid = [r for r in study.records.values() if r.status is Status.INFEASIBLE]
    assert invalid and all(not r.charged and r.failure for r in invalid)


def test_a_repeat_is_answered_from_the_cache_and_told_once() -> None:
    study, controller = scripted([(1, 1), (1, 1), (2, 2)], repeats=True, budget=2)
    trials = drive(study)
    assert [trial.code for trial in trials] == [(1, 1), (2, 2)]
    assert controller.heard == [("tell", 0, 2.0, 0), ("tell", 1, 2.0, 0), ("tell", 2, 4.0, 0)]
    assert study.records[1].cached_from == 0 and not study.records[1].charged


def test_a_repeat_of_what_is_in_flight_waits_for_it() -> None:
    study, controller = scripted([(1, 1), (1, 1), (2, 2)], repeats=True, budget=3)
    first, second = asked(study), asked(study)
    assert (first.number, second.number) == (0, 2)
    study.tell(second, scored(4.0))
    study.tell(first, scored(2.0))
    assert [heard[1:3] for heard in controller.heard] == [(2, 4.0), (0, 2.0), (1, 2.0)]


def test_others_look_for_what_is_unseen() -> None:
    study, _ = scripted([(1, 1), (1, 1), (1, 1), (2, 2)], budget=2)
    assert [trial.code for trial in drive(study)] == [(1, 1), (2, 2)]
    assert len(study.records) == 2


@pytest.mark.parametrize(("share", "every"), [(0.0, None), (0.2, 5), (0.25, 4), (0.5, 2)])
def test_control_draws_are_interleaved(share: float, every: int | None) -> None:
    study = make_study(control=ControlSettings(share=share), budget=40)
    drive(study)
    arms = [record.arm for record in study.records.values()]
    wanted = ["control" if every and n % every == 0 else "controller" for n in range(40)]
    assert arms == wanted


def test_arms_pay_alike_although_one_has_failures_that_cost_nothing() -> None:
    study = make_study(
        control=ControlSettings(share=0.5),
        budget=20,
        objective=ObjectiveSettings(maximize="score", limits={"size": 8}),
        costs=lambda candidate: {"size": total(candidate, 0)},
    )
    drive(study)
    paid = [record.arm for record in study.records.values() if record.charged]
    assert paid.count("control") == paid.count("controller") == 10
    assert len(study.records) > 20


def test_small_shares_are_observed_and_full_arms_keep_apart() -> None:
    for share, observed in ((0.2, 4), (0.5, 0)):
        script = list(itertools.product(range(5), range(5)))
        study, controller = scripted(script, control=ControlSettings(share=share), budget=20)
        drive(study)
        kinds = [heard[0] for heard in controller.heard]
        assert kinds.count("observe") == observed
        assert kinds.count("tell") == 20 * (1 - share)


def test_a_full_arm_is_the_search_that_it_would_be_alone() -> None:
    alone, both = (
        make_study(space=SPACES["masked"](), control=ControlSettings(share=share), budget=budget)
        for share, budget in ((0.0, 6), (0.5, 12))
    )
    drive(alone)
    drive(both)
    arm = [r for r in both.records.values() if r.arm == "controller"]
    assert len({r.key for r in arm}) == len(arm) == len(alone.records) == 6
    shared = [r for r in both.records.values() if r.cached_from is not None]
    assert shared and all(r.charged for r in shared)  # each arm pays for what both drew


def test_a_budget_in_hours_stops_asking() -> None:
    clock = Clock()
    study = make_study(budget="2h", clock=clock)
    for _ in range(4):
        trial = asked(study)
        clock.now += 1800.0
        study.tell(trial, scored(1.0))
    assert study.ask() is None and study.idle_seconds() is None and study.completed == 4
    assert study.start_finalists(FinalistSettings(count=1, repeats=1)) == 0  # no time is left


def test_results_told_in_order_all_count_when_the_time_is_up() -> None:
    clock = Clock()
    settings = StudySettings(delivery="proposal", window=3)
    study = make_study(budget="1h", clock=clock, settings=settings)
    trials = [asked(study) for _ in range(3)]
    clock.now += 4000.0
    for trial in reversed(trials):
        study.tell(trial, scored(float(trial.number)))
    assert study.ask() is None and study.idle_seconds() is None
    best = result_of(study.records.values(), study.objective).best
    assert study.completed == 3 and best is not None and best.number == 2


@pytest.mark.parametrize("budget", [0, -3, "0", "soon", "3x", ""])
def test_other_budgets_are_refused(budget: int | str) -> None:
    with pytest.raises(ConfigError, match="budget"):
        make_study(budget=budget)


def test_too_many_failures_name_the_setting() -> None:
    study = make_study(budget=100)
    for _ in range(5):
        study.tell(asked(study), failed(FailureKind.NOT_FINITE))
    with pytest.raises(RunError, match=r"5 of 5 trials failed.*learning rate.*max_failures"):
        study.ask()
    study = make_study(budget=100)
    for n in range(10):
        study.tell(asked(study), failed(FailureKind.ERROR) if n % 2 else scored(1.0))
    with pytest.raises(RunError, match=r"5 of 10 trials failed, 5 of them by error.*the evaluator"):
        study.ask()


def test_too_many_failures_name_the_commonest_reason() -> None:
    study = make_study(budget=100)
    for n in range(5):
        message = "ValueError: once" if n == 4 else "ValueError: four times"
        outcome = Outcome(failure=Failure(FailureKind.ERROR, message))
        number = asked_and_told(study, outcome)
    assert number == 4
    with pytest.raises(
        RunError, match=r"the commonest: ValueError: four times, as in trial 3\); change"
    ):
        study.ask()


def asked_and_told(study: Study, outcome: Outcome) -> int:
    trial = asked(study)
    study.tell(trial, outcome)
    return trial.number


def test_too_many_zeros_name_the_setting() -> None:
    study = make_study(budget=100, settings=StudySettings(max_zeros=0.9))
    for _ in range(20):
        study.tell(asked(study), scored(0.0))
    with pytest.raises(RunError, match=r"20 of 20 trials have score = 0;.*epochs"):
        study.ask()


@pytest.mark.parametrize("name", ["random", "ppo"])
def test_delivery_by_proposal_doesn_t_depend_on_timing(name: str) -> None:
    settings = StudySettings(delivery="proposal", window=4)
    runs = []
    for shuffle in (1, 2, 3):
        study = make_study(controller=name, budget=30, settings=settings)
        drive(study, shuffle=shuffle)
        assert all(record.tell_seq for record in list(study.records.values())[:26])
        runs.append([(r.code, r.arm, r.cached_from, r.ask_seq) for r in study.records.values()])
    assert runs[0] == runs[1] == runs[2]
    for number, record in enumerate(study.records.values()):
        before = [r for r in study.records.values() if (r.tell_seq or 1e9) < record.ask_seq]
        assert [r.number for r in before] == list(range(max(0, number - 3)))


def test_finalists_are_scored_again_with_fresh_seeds() -> None:
    study = make_study(space=SPACE, seed=1, budget=20, control=ControlSettings(share=0.5))
    drive(study)
    observed = result_of(study.records.values(), study.objective).best_observed
    assert observed is not None
    assert study.start_finalists(FinalistSettings(count=2, repeats=3, length=4)) == 12
    seeds = set()
    while trial := study.ask():
        assert trial.phase == "finalist" and trial.length == 4
        seeds.add(trial.seed)
        # The noisy maximum turns out to be the worst.
        study.tell(trial, scored(-1.0 if trial.key == observed.key else total(trial.candidate, 0)))
    assert len(seeds) == 12 and study.completed == 20
    result = result_of(study.records.values(), study.objective)
    assert result.best_observed == observed and len(result.finalists) == 4
    assert result.best is not None and result.best.key != observed.key
    assert result.best == result.finalists[0].record and len(result.finalists[0].rewards) == 3
    assert {f.record.arm for f in result.finalists} == {"controller", "control"}
    assert study.start_finalists(FinalistSettings(count=2, repeats=3, length=4)) == 0


def test_results_told_in_order_all_count_when_the_space_is_exhausted() -> None:
    space = ChoiceSpace({"a": [0, 1, 2, 3]})
    settings = StudySettings(delivery="proposal", window=3)
    study = make_study(space=space, settings=settings, budget=10)
    drive(study)
    assert study.completed == 4
    assert all(record.tell_seq is not None for record in study.records.values())


def test_a_longer_reevaluation_that_fails_leaves_the_one_that_was_had() -> None:
    study = make_study(budget=10, control=ControlSettings(share=0.0))
    drive(study)
    for length, kind in ((3, None), (9, FailureKind.TIMEOUT)):
        study.start_finalists(FinalistSettings(count=1, length=length, repeats=1))
        while trial := study.ask():
            study.tell(trial, failed(kind) if kind else scored(1.0))
    found = result_of(study.records.values(), study.objective)
    assert [finalist.rewards for finalist in found.finalists] == [(1.0,)]


def test_what_a_shape_can_t_take_leaves_the_trial_to_be_asked_again() -> None:
    shape = RewardShape(kind="soft", cost="size", target=4.0)
    objective = ObjectiveSettings(maximize="score", shape=shape)
    costs = {"size": 2.0}
    study = make_study(objective=objective, costs=lambda candidate: costs, budget=5)
    trial = study.ask()
    assert trial is not None
    with pytest.raises(RunError, match="choose 'absolute'"):
        study.tell(trial, scored(-1.0))
    study.release()
    again = study.ask()
    assert again is not None and (again.number, again.attempt) == (trial.number, 1)
