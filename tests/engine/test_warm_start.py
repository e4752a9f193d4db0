"""Warm starts: what another run has scored is known, told, and never scored again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nas.controllers.base import Controller, Stop
from nas.errors import NasError, RunError
from nas.report.leaderboard import leaderboard, standing
from nas.searching import search
from nas.space import ChoiceSpace, Code
from nas.study.result import Result
from nas.study.settings import NO_CONTROL, ControlSettings, FinalistSettings, StudySettings
from nas.study.stopping import StoppingSettings
from nas.study.store import Store, find
from nas.study.trial import Record, Status
from tests.engine.toys import SPACES, rungs, total

SPACE = SPACES["product"]()
SMALL = ChoiceSpace({"a": list(range(8))})
HALVING = StoppingSettings(rungs=(1, 2), eta=3)
STOPPED = NO_CONTROL.model_copy(update={"stopping": HALVING})
HALF = StudySettings(control=ControlSettings(share=0.5))


class Counted:
    """Scores a candidate by its choices, and remembers whom it scored."""

    def __init__(self, version: int = 1, numerics: str = "") -> None:
        self.version, self.numerics = version, numerics
        self.scored: list[Code] = []

    def describe(self) -> dict[str, Any]:
        return {"name": "counted", "version": self.version}

    def __call__(self, candidate: dict[str, int], seed: int) -> dict[str, float]:
        self.scored.append(tuple(candidate.values()))
        return {"score": total(candidate, seed), "lowest": min(candidate.values())}


class Heard(Controller):
    """Proposes one code, or uniform draws, and writes down what it hears."""

    repeats = True

    def __init__(self, code: Code | None = None) -> None:
        super().__init__(SPACE, 0)
        self.code, self.heard = code, list[tuple[Any, ...]]()

    def propose(self, number: int, draw: int = 0) -> Code:
        return self.code or self.space.sample_code(self.generator(number, draw))

    def asked(self, number: int, code: Code) -> None:
        self.heard.append(("asked", code))

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self.heard.append(("tell", code, reward))

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self.heard.append(("observe", code, reward))

    def stop(self, number: int | None, stop: Stop) -> None:
        self.heard.append(("stop", number, stop.code, len(stop.curve)))


@pytest.fixture
def first(tmp_path: Path) -> tuple[Path, Result]:
    """A run of 24 random draws."""
    return tmp_path / "first", search(
        SPACE, Counted(), "random", budget=24, settings=NO_CONTROL, run=tmp_path / "first"
    )


def made(controller: Controller) -> Any:
    """What `nas.search` takes for a controller's class."""
    return lambda space, seed: controller


def size(candidate: dict[str, int]) -> dict[str, float]:
    return {"size": total(candidate, 0)}


def rows_of(run: Path) -> list[Record]:
    with Store.open_readonly(find(run)) as store:
        return store.records()


@pytest.mark.parametrize("name", ["random", "evolution", "reinforce", "predictor"])
def test_what_was_scored_is_not_scored_again(name: str, tmp_path: Path) -> None:
    before, after = Counted(), Counted()
    search(SMALL, before, "random", budget=5, run=tmp_path / "first")
    found = search(SMALL, after, name, budget=20, warm_start=tmp_path / "first")
    assert len(before.scored) == 5 and len(after.scored) == 3
    assert not set(before.scored) & set(after.scored)
    assert len(found.trials) == 3 and {row.phase for row in found.warm_start} == {"earlier"}
    assert found.best is not None and found.best.candidate == {"a": 7}


def test_the_controller_hears_it_before_it_proposes(first: tuple[Path, Result]) -> None:
    controller = Heard()
    search(
        SPACE, Counted(), made(controller), budget=3, settings=NO_CONTROL, warm_start=str(first[0])
    )
    told = [("observe", row.code, row.reward) for row in first[1].trials]
    assert controller.heard[:24] == told
    assert [event[0] for event in controller.heard[24:]] == ["asked", "tell"] * 3


def test_evolution_has_parents_from_the_first_proposal_on(first: tuple[Path, Result]) -> None:
    def children(warm_start: Path | None) -> int:
        found = search(
            SPACE, Counted(), "evolution", budget=8, settings=NO_CONTROL, warm_start=warm_start
        )
        codes = [row.code for row in (*first[1].trials, *found.trials)]
        return sum(
            any(sum(a != b for a, b in zip(code, other, strict=True)) == 1 for other in codes[:n])
            for n, code in enumerate(codes[24:], start=24)
        )

    # A uniform draw differs in one choice from one of 28 codes with a probability of 12 %.
    assert children(first[0]) == 8 > 4 > children(None)


def test_a_warm_run_in_pieces_equals_a_whole_one(
    first: tuple[Path, Result], tmp_path: Path
) -> None:
    def run(name: str, budget: int, warm_start: Path | None = None) -> list[Record]:
        search(
            SPACE, Counted(), "evolution", budget=budget, run=tmp_path / name, warm_start=warm_start
        )
        rows = rows_of(tmp_path / name)
        assert [row.number for row in rows] == list(range(24 + budget))
        return [row for row in rows if row.phase == "search"]

    def told(rows: list[Record]) -> list[tuple[Any, ...]]:
        return [(row.code, row.arm, row.reward, row.ask_seq, row.tell_seq) for row in rows]

    whole = told(run("whole", 20, first[0]))
    run("parts", 7, first[0])
    shutil.rmtree(first[0])
    assert told(run("parts", 13)) == whole[:13]
    assert told(run("parts", 20, first[0])) == whole  # named again, though it's gone


def test_another_run_can_t_be_named_later(first: tuple[Path, Result], tmp_path: Path) -> None:
    warm, cold = tmp_path / "warm", tmp_path / "cold"
    search(SPACE, Counted(), "random", budget=2, run=warm, warm_start=first[0])
    search(SPACE, Counted(), "random", budget=2, run=cold)
    with pytest.raises(RunError, match=r"began with what .*first.* had scored; leave out"):
        search(SPACE, Counted(), "random", budget=4, run=warm, warm_start=cold)
    with pytest.raises(RunError, match="began without a warm start"):
        search(SPACE, Counted(), "random", budget=4, run=cold, warm_start=first[0])


def test_a_third_run_knows_what_the_second_one_knew(
    first: tuple[Path, Result], tmp_path: Path
) -> None:
    second = tmp_path / "second"
    search(SPACE, Counted(), "random", budget=5, run=second, warm_start=first[0])
    shutil.rmtree(first[0])
    third = search(SPACE, Counted(), "random", budget=1, warm_start=second)
    assert len(third.warm_start) == 29


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"space": SMALL},
            "its results can't be used here, since space.decisions is ",
        ),
        ({"evaluate": Counted(2)}, "since evaluator.version is 1 there and 2 here"),
        ({"identity": {"data": "other"}}, 'since data is "absent" there and "other" here'),
        ({"warm_start": "nowhere"}, "trials.sqlite: there is no such run"),
        ({"objective": "ap"}, "trial 0: objective.maximize is 'ap', but the evaluator reports"),
        ({"limits": {"size": 0.5}}, "first/trials.sqlite: has no result for this search"),
    ],
)
def test_what_can_t_be_used_is_refused_before_anything_begins(
    first: tuple[Path, Result], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    options: dict[str, Any] = {"space": SPACE, "evaluate": Counted(), "warm_start": first[0]}
    options |= {"controller": "random", "budget": 2, "run": tmp_path / "second", "costs": size}
    with pytest.raises(NasError) as caught:
        search(**options | change)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert len(search(**options).warm_start) == 24  # in the same folder


def test_a_function_needs_a_version(tmp_path: Path) -> None:
    def run(name: str, **options: Any) -> Result:
        return search(SMALL, total, "random", budget=3, run=tmp_path / name, **options)

    run("bare")
    run("named", evaluator_version="1")
    bare, named = tmp_path / "bare", tmp_path / "named"
    with pytest.raises(RunError, match=r'bare/trials\.sqlite: .*evaluator_version="…"'):
        run("a", warm_start=bare)
    with pytest.raises(RunError, match='evaluator_version is "absent" there and "1" here'):
        run("b", warm_start=bare, evaluator_version="1")
    with pytest.raises(RunError, match='evaluator_version is "1" there and "2" here'):
        run("c", warm_start=named, evaluator_version="2")
    assert len(run("d", warm_start=named, evaluator_version="1").warm_start) == 3
    with pytest.raises(RunError, match="evaluator_version was"):
        run("d", evaluator_version="2")


def test_rewards_costs_and_limits_are_this_run_s(first: tuple[Path, Result]) -> None:
    found = search(
        SPACE,
        Counted(),
        "random",
        budget=1,
        objective="lowest",
        limits={"size": 9},
        costs=size,
        warm_start=first[0],
    )
    within = [row.code for row in first[1].trials if sum(row.code) <= 9]
    assert 0 < len(within) < 24
    assert [row.code for row in found.warm_start] == within
    assert all(row.reward == min(row.code) for row in found.warm_start)
    assert all(row.costs == {"size": sum(row.code)} for row in found.warm_start)


def test_a_full_control_arm_doesn_t_know_it_and_pays(tmp_path: Path) -> None:
    before, after = Counted(), Counted()
    search(SMALL, before, "random", budget=4, run=tmp_path / "first")
    found = search(
        SMALL, after, "random", budget=8, settings=HALF, seed=1, warm_start=tmp_path / "first"
    )
    known = set(before.scored)
    own, drawn = (
        [row for row in found.trials if row.arm == arm] for arm in ("controller", "control")
    )
    assert len(own) == len(drawn) == 4
    assert not {row.code for row in own} & known
    again = [row for row in drawn if row.code in known]
    assert again and all(row.cached_from is not None for row in again)
    assert not set(after.scored) & known and len(set(after.scored)) == len(after.scored)


def test_what_was_stopped_answers_as_stopped(tmp_path: Path) -> None:
    same: dict[str, Any] = {"evaluator_version": "1"}
    run = tmp_path / "first"
    search(SPACE, rungs, "random", budget=30, run=run, settings=STOPPED, **same)
    before = {row.code: row for row in rows_of(run)}
    stopped = [row for row in before.values() if row.status is Status.STOPPED]
    assert stopped

    controller = Heard(stopped[0].code)
    options = {**same, "warm_start": run, "run": tmp_path / "second"}
    search(SPACE, rungs, made(controller), budget=1, settings=STOPPED, **options)
    rows = rows_of(tmp_path / "second")
    earlier = [row for row in rows if row.phase == "earlier"]
    assert [(r.status, r.curve) for r in earlier] == [(r.status, r.curve) for r in before.values()]
    heard = [event for event in controller.heard if event[:2] == ("stop", None)]
    told = [("stop", None, row.code, len(row.curve)) for row in stopped]
    assert heard[: len(told)] == told
    repeats = [row for row in rows if row.phase == "search" and row.cached_from is not None]
    assert len(repeats) == 3  # then unseen codes are drawn
    assert all(row.status is Status.STOPPED and not row.charged for row in repeats)

    # Without stopping, or with another, such a candidate may be trained in full.
    for name, stopping in (("full", None), ("other", StoppingSettings(rungs=(1,), eta=2))):
        options = {**same, "warm_start": run, "run": tmp_path / name}
        controller = Heard(stopped[0].code)
        found = search(
            SPACE,
            rungs,
            made(controller),
            budget=1,
            settings=NO_CONTROL.model_copy(update={"stopping": stopping}),
            **options,
        )
        assert {row.status for row in found.warm_start} == {Status.DONE}
        assert [row.code for row in found.trials] == [stopped[0].code]
        assert len(found.warm_start) == 30 - len(stopped)


def test_earlier_ones_may_win_and_are_marked(tmp_path: Path) -> None:
    run = tmp_path / "second"
    best = search(SMALL, Counted(), "random", budget=7, seed=3, run=tmp_path / "first").best
    found = search(
        SMALL,
        Counted(),
        "random",
        budget=1,
        run=run,
        settings=StudySettings(finalists=FinalistSettings(count=1, repeats=2)),
        warm_start=tmp_path / "first",
    )
    assert best is not None and best.code == (7,)
    assert found.best is not None and (found.best.code, found.best.phase) == ((7,), "earlier")
    assert [len(finalist.rewards) for finalist in found.finalists][:1] == [2]
    assert len(found.trials) == 1 and found.pareto == (found.best,)
    own = found.best_of(found.trials[0].arm)
    assert own is not None and own.phase == "search"
    console = Console(width=100)
    with console.capture() as capture:
        console.print(leaderboard(found))
    assert "best of 1 trials and 7 earlier ones" in capture.get()
    assert "earlier" in capture.get().splitlines()[4]
    assert standing(rows_of(run)) == "1 trial scored, 7 known from an earlier run"


def test_other_numerics_are_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    search(SMALL, Counted(numerics="old"), "random", budget=3, run=tmp_path / "first")
    for numerics, notes in (("old", 0), ("new", 1)):
        caplog.clear()
        search(
            SMALL,
            Counted(numerics=numerics),
            "random",
            budget=3,
            warm_start=tmp_path / "first",
        )
        said = [record.getMessage() for record in caplog.records]
        assert (
            sum("trials run as new and those of the warm start as old" in line for line in said)
            == notes
        )


def test_failures_are_not_taken(tmp_path: Path) -> None:
    class Failing(Counted):
        def __call__(self, candidate: dict[str, int], seed: int) -> dict[str, float]:
            if candidate["a"] % 4 == 0:
                raise ValueError("as the test wants")
            return super().__call__(candidate, seed)

    search(SMALL, Failing(), "random", budget=8, run=tmp_path / "first")
    after = Counted()
    found = search(SMALL, after, "random", budget=8, warm_start=tmp_path / "first")
    assert sorted(after.scored) == [(0,), (4,)]
    assert len(found.trials) == 2 and len(found.warm_start) == 6
