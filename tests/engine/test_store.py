"""The store: what it keeps, what it refuses, and resumption from it."""

from __future__ import annotations

import gc
import json
import math
import random
import sqlite3
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.space import ChoiceSpace
from nas.study.failures import FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.settings import ControlSettings, FinalistSettings
from nas.study.store import Store
from nas.study.trial import Outcome, Status
from tests.engine.toys import SPACES, codes, drive, failed, make_study, scored


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    with Store.open(tmp_path / "run" / "trials.sqlite") as store:
        study = make_study(store, "random", max_failures=1.0)
        drive(study, limit=10)
        trial = study.ask()
        assert trial is not None
        study.tell(trial, failed(FailureKind.ERROR))
        kept = list(study.records.values())
        with Store.open_readonly(tmp_path / "run" / "trials.sqlite") as reader:
            assert reader.records() == kept
            assert reader.records(study.space.decode)[3].candidate == kept[3].candidate
            assert store.export_jsonl(tmp_path / "rows.jsonl") == 11
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(11))
    assert lines[0]["metrics"] == {"score": kept[0].reward} and lines[0]["code"] == [*kept[0].code]
    assert lines[10]["failure_kind"] == "error" and lines[10]["reward"] is None


def test_numbers_are_kept_to_the_last_bit_and_none_as_null(tmp_path: Path) -> None:
    rng = random.Random(0)
    metrics = {f"m{i}": rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300) for i in range(200)}
    metrics |= {
        "none": math.nan,
        "no end": math.inf,
        "least": 5e-324,
        "score": 1.0,
        "ap\u00e4": -0.0,
    }
    with Store.open(tmp_path / "a.sqlite") as store:
        study = make_study(store, identity={})
        trial = study.ask()
        assert trial is not None and study.tell(trial, Outcome(metrics=metrics, curve=(metrics,)))
        (row,) = store.records()
        ((text,),) = sqlite3.connect(tmp_path / "a.sqlite").execute("SELECT metrics FROM trials")
    kept = json.loads(text)
    assert kept.pop("none") is None and kept.pop("no end") is None
    assert kept == {name: value for name, value in metrics.items() if name in kept}
    assert math.isnan(row.metrics["none"]) and row.curve[0]["m7"] == metrics["m7"]


def test_one_process_writes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite"), pytest.raises(RunError, match="another process"):
        Store.open(tmp_path / "a.sqlite")
    Store.open(tmp_path / "a.sqlite").close()


@pytest.mark.parametrize("opened", [Store.open, Store.open_readonly])
def test_foreign_files_are_refused_and_left_alone(opened: Any, tmp_path: Path) -> None:
    text, other, old = (tmp_path / name for name in ("t.sqlite", "o.sqlite", "s.sqlite"))
    text.write_text("no database at all, " * 99)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE holidays (day TEXT)")
    connection.close()
    Store.open(old).close()
    connection = sqlite3.connect(old)
    connection.execute("UPDATE meta SET value='99' WHERE name='schema'")
    connection.commit()
    connection.close()
    before = [path.read_bytes() for path in (text, other)]
    for path, said in ((text, "no store"), (other, "no store"), (old, "schema 99")):
        with pytest.raises(RunError, match=said) as caught:
            opened(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert [path.read_bytes() for path in (text, other)] == before


def test_a_store_that_isn_t_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        Store.open_readonly(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_a_readonly_store_can_t_be_written(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite") as store:
        study = make_study(store)
        drive(study, limit=1)
    with Store.open_readonly(tmp_path / "a.sqlite") as store, pytest.raises(RunError):
        store.write(study.records[0])


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("seed", {"seed": 1}),
        ("controller", {"controller": "ppo"}),
        ("objective.maximize", {"objective": ObjectiveSettings(maximize="other")}),
        (
            "objective.limits.size",
            {"objective": ObjectiveSettings(maximize="score", limits={"size": 1})},
        ),
        ("control.share", {"control": ControlSettings(share=0.5)}),
        ("space.decisions", {"space": SPACES["two candidates"]()}),
        ("data.fingerprint", {"identity": {"data": {"fingerprint": "other"}}}),
    ],
)
def test_what_may_not_change_is_named(field: str, change: dict[str, Any]) -> None:
    store = Store.open(None)
    base: dict[str, Any] = {"identity": {"data": {"fingerprint": "one", "images": 3}}}
    drive(make_study(store, **base), limit=2)
    changed = {**base, **change}
    if "identity" in change:
        changed["identity"] = {"data": {"fingerprint": "other", "images": 3}}
    with pytest.raises(RunError, match=field.replace(".", r"\.")):
        make_study(store, **changed)
    assert len(make_study(store, **base, budget=99, max_failures=0.9).records) == 2


@pytest.mark.parametrize("name", ["random", "ppo"])
@pytest.mark.parametrize("cut", [0, 1, 7, 26])
def test_a_run_in_pieces_equals_a_whole_one(name: str, cut: int) -> None:
    whole = make_study(controller=name, budget=30)
    drive(whole)
    store = Store.open(None)
    first = make_study(store, name, budget=30)
    drive(first, limit=cut)
    lost = first.ask()  # in flight when the driver ends
    second = make_study(store, name, budget=30)
    again = second.ask()
    assert lost and again
    assert (again.code, again.seed, again.number) == (lost.code, lost.seed, lost.number)
    second.tell(again, scored(float(sum(again.candidate.values()))))
    drive(second)
    assert codes(second) == codes(whole)
    told = [[(r.reward, r.tell_seq) for r in s.records.values()] for s in (whole, second)]
    assert told[0] == told[1]


def test_a_trial_that_kills_its_driver_again_and_again_is_withdrawn() -> None:
    store = Store.open(None)
    for attempt in (1, 2, 3, 4):
        trial = make_study(store).ask()
        assert trial is not None and (trial.number, trial.attempt) == (0, attempt)
    study = make_study(store)
    assert study.records[0].status is Status.WITHDRAWN and not study.records[0].charged
    trial = study.ask()
    assert trial is not None and trial.number == 1


def test_a_row_may_have_been_written_although_the_call_was_interrupted(tmp_path: Path) -> None:
    class Interrupted:
        """A connection; Ctrl-C comes right after its first commit."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection, self._came = connection, False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            cursor = self._connection.execute(sql, *values)
            if sql == "COMMIT" and not self._came:
                self._came = True
                raise KeyboardInterrupt
            return cursor

    with Store.open(tmp_path / "a.sqlite") as store:
        study = make_study(store)
        store._connection = Interrupted(store._connection)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            study.ask()
        study.release()
        assert [(row.number, row.attempts) for row in store.records()] == [(0, 0)]


def test_a_stop_on_purpose_is_no_attempt() -> None:
    store = Store.open(None)
    for _ in range(9):
        study = make_study(store)
        trial = study.ask()
        assert trial is not None and (trial.number, trial.attempt) == (0, 1)
        study.release()


def test_a_result_that_was_recorded_and_not_told_is_told_on_resumption() -> None:
    store = Store.open(None)
    study = make_study(store)
    drive(study, limit=3)
    last = study.records[2]
    last.tell_seq = None
    store.write(last)
    again = make_study(store)
    assert again.completed == 3 and again.records[2].tell_seq is not None
    assert store.records() == list(again.records.values())


def test_finalists_resume() -> None:
    store, settings = Store.open(None), FinalistSettings(count=2, repeats=2)
    study = make_study(store, control=ControlSettings(share=0.0))
    drive(study)
    assert study.start_finalists(settings) == 4
    drive(study, limit=1)
    lost = study.ask()
    again = make_study(store, control=ControlSettings(share=0.0))
    assert again.start_finalists(settings) == 3
    trials = drive(again)
    assert lost and lost.seed in {trial.seed for trial in trials} and len(trials) == 3


def test_the_run_s_clock_goes_on() -> None:
    store, now = Store.open(None), [100.0]
    study = make_study(store, clock=lambda: now[0], budget="1h")
    trial = study.ask()
    now[0] += 3000.0
    assert trial and study.tell(trial, scored(1.0))
    later = make_study(store, clock=lambda: 5.0, budget="1h")
    assert later.clock == 3000.0


@pytest.mark.parametrize(("name", "count"), [("random", 2000), ("ppo", 100)])
def test_two_thousand_trials_are_absorbed_in_ten_seconds(name: str, count: int) -> None:
    space = ChoiceSpace({f"l{i}": list(range(8)) for i in range(50)})
    store = Store.open(None)
    drive(make_study(store, name, space=space, budget=count))
    start = time.process_time()
    again = make_study(store, name, space=space, budget=count)
    assert again.completed == count
    assert time.process_time() - start < 10 * count / 2000


def test_a_running_search_holds_no_candidates_and_tells_them_again(tmp_path: Path) -> None:
    class Held(dict[str, Any]):
        """A candidate that can be watched."""

    class Space(ChoiceSpace):
        def decode(self, code: Any) -> Held:
            return Held(super().decode(code))

    made: list[weakref.ref[Held]] = []

    def note(candidate: Held) -> dict[str, float]:
        made.append(weakref.ref(candidate))
        return {}

    with Store.open(tmp_path / "a.sqlite") as store:
        study = make_study(store, space=Space({"a": list(range(30))}), costs=note)
        drive(study)
        gc.collect()
        assert len(made) == 20 and not any(reference() for reference in made)
        texts = [json.dumps(record.candidate) for record in study.records.values()]
        assert [row.candidate_json for row in store.records()] == texts
        assert [row.candidate_json for row in study.records.values()] == texts
