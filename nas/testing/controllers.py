"""What every controller keeps to: legal codes, replay, failures, small spaces, learning."""

from __future__ import annotations

import abc
import random
import statistics
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from nas.controllers.base import Controller, Stop
from nas.searching import search
from nas.space import ChoiceSpace, Code, Space
from nas.study.failures import Failure, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.settings import NO_CONTROL
from nas.study.store import Store
from nas.study.study import Study
from nas.study.trial import Outcome, Trial


class StaircaseSpace(ChoiceSpace):
    """Each choice may be at most one above the one before: masks that depend on the prefix."""

    name = "staircase"

    def __init__(self, steps: int, choices: int) -> None:
        super().__init__({f"step{i}": list(range(choices)) for i in range(steps)})

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns a mask up to one above the last choice."""
        size = len(self.decisions[len(prefix)].choices)
        limit = prefix[-1] + 1 if prefix else 0  # the first decision has one legal choice
        return tuple(index <= limit for index in range(size))

    def size(self) -> int:
        """Returns the number of codes, walked."""
        return sum(1 for _ in self.codes())


SPACES: dict[str, Callable[[], Space]] = {
    "product": lambda: ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(6)}),
    "one decision": lambda: ChoiceSpace({"only": list("abcdefgh")}),
    "one choice": lambda: ChoiceSpace({"fixed": [1], "free": [0, 1, 2], "also fixed": ["x"]}),
    "two candidates": lambda: ChoiceSpace({"a": [0, 1]}),
    "masked": lambda: StaircaseSpace(4, 4),
}
"""Spaces that controllers stumble over."""

SHAPES = {"1 x 50": (1, 50), "2 x 2": (2, 2), "30 x 8": (30, 8)}
"""Decisions and choices of products."""


def product(decisions: int, choices: int) -> ChoiceSpace:
    """Returns choices without an order, so that each is a feature of its own."""
    return ChoiceSpace({f"l{t}": [f"c{i}" for i in range(choices)] for t in range(decisions)})


def fed(controller: Controller, numbers: range, order_seed: int = 0) -> list[Code]:
    """Proposes in turn and tells late, out of order, with every kind of result."""
    rng, proposed, flight = random.Random(order_seed), [], []
    for number in numbers:
        code = controller.propose(number)
        controller.asked(number, code)
        proposed.append(code)
        flight.append((number, code))
        while len(flight) > 3:
            late, code = flight.pop(rng.randrange(len(flight)))
            kind = rng.randrange(9)
            if kind == 0:
                controller.tell(late, code, None, 0.4)
            elif kind == 1:
                controller.withdraw(late, code)
            elif kind == 3:
                controller.stop(late, Stop(code, (0.5 * sum(code),), 0.3))
                controller.stop(None, Stop(code, (0.5 * sum(code),), 0.3))
            else:
                controller.reports(code, (0.5 * sum(code), float(sum(code))))
                controller.tell(late, code, float(sum(code)))
            if kind == 2:
                controller.observe(code, -1.0)
                controller.observe(code, None, 1.0)
    return proposed


def drive(study: Study, limit: int = 10_000, shuffle: int | None = None) -> list[Trial]:
    """Asks and tells to the end, or `limit` trials: their codes' sums are the scores.

    With `shuffle`, four are under way at once, and are told in a shuffled order.
    """
    rng = random.Random(shuffle)
    trials: list[Trial] = []
    flight: list[Trial] = []
    while flight or len(trials) < limit:
        while len(flight) < (1 if shuffle is None else 4) and len(trials) < limit:
            trial = study.ask()
            if trial is None:
                break
            trials.append(trial)
            flight.append(trial)
        if not flight:
            break
        trial = flight.pop(rng.randrange(len(flight)))
        study.tell(trial, Outcome(metrics={"score": float(sum(trial.code))}))
    return trials


class ControllerSuite(abc.ABC):
    """Tests of a controller.

    Attributes:
        learns: whether late proposals beat early ones; uniform draws don't.
    """

    learns: ClassVar[bool] = True

    @abc.abstractmethod
    def make_controller(self, space: Space, seed: int) -> Controller:
        """Returns the controller for a space."""

    def study(self, store: Store | None = None, **options: object) -> Study:
        """Returns a study with the controller, over 4^6 candidates or another space."""
        settings: dict[str, object] = {"budget": 20, "seed": 0} | options
        space = settings.pop("space", None) or SPACES["product"]()
        assert isinstance(space, Space)
        controller = self.make_controller(space, 0)
        objective = ObjectiveSettings(maximize="score")
        rows = store or Store.open(None)
        return Study(space, controller, objective, rows, **settings)  # type: ignore[arg-type]

    @pytest.mark.parametrize("space_name", SPACES)
    def test_never_an_illegal_code(self, space_name: str) -> None:
        """Proposals are legal after all kinds of results."""
        space = SPACES[space_name]()
        for code in fed(self.make_controller(space, 0), range(60)):
            space.check(code)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_never_an_illegal_code_in_other_shapes(self, shape: str) -> None:
        """Proposals are legal where there are many decisions, or many choices."""
        space = product(*SHAPES[shape])
        for code in fed(self.make_controller(space, 0), range(25)):
            space.check(code)

    def test_same_seed_and_events_give_the_same_proposals(self) -> None:
        """Proposals are a function of seed and events."""
        space = SPACES["masked"]()
        first, second = (fed(self.make_controller(space, 3), range(50)) for _ in range(2))
        assert first == second
        assert fed(self.make_controller(space, 4), range(50)) != first

    def test_proposing_changes_nothing(self) -> None:
        """The order of proposals doesn't matter, and draws differ."""
        controller = self.make_controller(SPACES["product"](), 0)
        fed(controller, range(30))
        before = [controller.propose(number, draw) for number in (90, 91) for draw in (0, 1)]
        again = [controller.propose(number, draw) for number in (91, 90) for draw in (1, 0)]
        assert before == again[::-1]
        assert len(set(before)) > 1

    @pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-9, 1e9])
    def test_any_scale_of_rewards(self, scale: float) -> None:
        """Rewards may be equal, tiny, huge or absurd."""
        space = SPACES["one decision"]()
        controller = self.make_controller(space, 0)
        for number in range(40):
            code = controller.propose(number)
            space.check(code)
            controller.asked(number, code)
            controller.tell(number, code, scale * sum(code))
            if number == 20:
                controller.observe(code, 1e9)  # one is absurd

    @pytest.mark.parametrize("space_name", ["one decision", "one choice", "two candidates"])
    def test_small_spaces_end_clearly(
        self, space_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A search ends when it has tried every candidate once."""
        study = self.study(space=SPACES[space_name](), budget=50)
        drive(study)
        run = [record for record in study.records.values() if record.is_scored]
        assert len({record.key for record in run}) == len(run) == study.space.size()
        assert study.idle_seconds() is None and study.ask() is None
        assert "no candidate was found that it hasn't tried" in caplog.text

    @pytest.mark.parametrize("shuffle", [None, 1])
    def test_absorbing_a_recorded_run_leaves_the_same_next_proposals(
        self, shuffle: int | None
    ) -> None:
        """A run that goes on proposes what it would have proposed."""
        store = Store.open(None)
        study = self.study(store, budget=60)
        drive(study, limit=41, shuffle=shuffle)
        again = self.study(store, budget=60)
        kept = [record.code for record in again.records.values()]
        assert kept == [record.code for record in study.records.values()]
        rest = [trial.code for trial in drive(study)]
        assert [trial.code for trial in drive(again)][-len(rest) :] == rest

    @pytest.mark.parametrize("kind", list(FailureKind))
    def test_failures_don_t_stop_it(self, kind: FailureKind) -> None:
        """A search goes on whatever fails."""
        clock = iter(range(0, 10**9, 30)).__next__  # back-off passes at once
        study = self.study(budget=24, max_failures=1.0, clock=clock)
        rng = random.Random(0)
        for _ in range(400):
            trial = study.ask()
            if trial is None:
                break
            is_bad = sum(trial.code) % 3 == 0 or rng.random() < 0.1
            failed = Outcome(failure=Failure(kind, "as the test wants"))
            scored = Outcome(metrics={"score": float(sum(trial.code))})
            study.tell(trial, failed if is_bad else scored)
        assert study.completed == 24 and study.in_flight == 0

    def test_it_learns(self) -> None:
        """Noisy rewards with a value per choice: late proposals against early ones, three seeds."""
        space = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(20)})

        def value(candidate: dict[str, int], seed: int) -> float:
            return sum(candidate.values()) + random.Random(seed).gauss(0, 2)

        gains = []
        for seed in range(3):
            result = search(
                space, value, self.make_controller, budget=120, seed=seed, settings=NO_CONTROL
            )
            sums = [sum(record.code) for record in result.trials]
            gains.append(statistics.fmean(sums[-30:]) - statistics.fmean(sums[:30]))
        # A uniform draw sums to 30 with a deviation of 5; a mean of 90 is within 0.5 of it.
        if self.learns:
            assert statistics.fmean(gains) > 4
        else:
            assert abs(statistics.fmean(gains)) < 2.5
