"""Suggestions: what a study would try, without a study; and a state that is only its events."""

from __future__ import annotations

import json
import math
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from nas.controllers import ControllerSettings
from nas.errors import RunError
from nas.executors.tune.suggestions import Suggestions
from nas.searching import search
from nas.space import ChoiceSpace, Space
from nas.study.settings import NO_CONTROL
from tests.engine.toys import CONTROLLERS, SPACES, total


def made(
    name: str = "evolution",
    space: Space | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    **identity: Any,
) -> Suggestions:
    settings = ControllerSettings(name=name, options=options or {})
    return Suggestions(space or SPACES["product"](), settings, seed, identity)


def asked(suggestions: Suggestions, first: int, count: int) -> list[Any]:
    """Asks and tells at once: the choices' sums are the rewards."""
    candidates = []
    for number in range(first, first + count):
        candidates.append(suggestions.ask(f"t{number}"))
        suggestions.tell(f"t{number}", total(candidates[-1], 0))
    return candidates


def mixed(suggestions: Suggestions, count: int) -> None:
    """Ends trials late, out of order, and in every way; three are left running."""
    rng, flight = random.Random(0), []
    for number in range(count):
        candidate = suggestions.ask(f"t{number}")
        flight.append((f"t{number}", total(candidate, 0)))
        while len(flight) > 3:
            trial, reward = flight.pop(rng.randrange(len(flight)))
            kind = rng.randrange(6)
            if kind == 0:
                suggestions.withdraw(trial)
            else:
                suggestions.tell(trial, {1: None, 2: math.nan}.get(kind, reward))


def saved(suggestions: Suggestions, folder: Path) -> dict[str, Any]:
    suggestions.save(folder / "state.json")
    return dict(json.loads((folder / "state.json").read_text()))


@pytest.mark.parametrize(("space_name", "budget"), [("product", 26), ("masked", 12)])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_they_are_what_a_search_tries(name: str, space_name: str, budget: int) -> None:
    space = SPACES[space_name]()
    found = search(space, total, name, budget=budget, seed=3, settings=NO_CONTROL)
    tried = [record.candidate for record in found.trials if record.cached_from is None]
    assert asked(made(name, space, seed=3), 0, budget) == tried


@pytest.mark.parametrize("space_name", ["one decision", "one choice", "two candidates"])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_small_spaces_end_when_each_candidate_was_tried(name: str, space_name: str) -> None:
    space = SPACES[space_name]()
    suggestions = made(name, space)
    candidates: list[Any] = []
    while (candidate := suggestions.ask(f"t{len(candidates)}")) is not None:
        suggestions.tell(f"t{len(candidates)}", float(len(candidates) % 3))
        candidates.append(candidate)
    assert len({space.key(c) for c in candidates}) == len(candidates) == space.size()
    assert suggestions.ask("later") is None


def test_trials_at_once_differ() -> None:
    space = SPACES["masked"]()
    suggestions = made("ppo", space)
    keys = [space.key(suggestions.ask(str(number))) for number in range(space.size())]
    assert len(set(keys)) == space.size() and len(suggestions.running) == space.size()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_restored_or_pickled_it_goes_on_the_same(name: str, tmp_path: Path) -> None:
    suggestions = made(name)
    mixed(suggestions, 24)
    events = saved(suggestions, tmp_path)["events"]
    copies = (
        made(name).restored(tmp_path / "state.json"),
        pickle.loads(pickle.dumps(suggestions)),
    )
    trials = list(suggestions.running)
    assert len(trials) == 3
    for one in (suggestions, *copies):
        assert saved(one, tmp_path)["events"][: len(events)] == events
        for trial in trials:
            one.tell(str(trial), 5.0)
    wanted = asked(suggestions, 100, 6)
    assert [asked(copy, 100, 6) for copy in copies] == [wanted, wanted]


def test_how_a_trial_ends(tmp_path: Path) -> None:
    suggestions = made("predictor")
    for trial in "abcde":
        suggestions.ask(trial)
    suggestions.tell("a", math.nan)  # before any reward: no result
    suggestions.tell("b", 2.0)
    suggestions.tell("c", 1.5)
    suggestions.tell("d", -math.inf)
    suggestions.tell("e", None)
    events = saved(suggestions, tmp_path)["events"]
    assert [event.get("trial") for event in events[:5]] == list("abcde")
    assert events[5:] == [
        {"event": "withdrawn", "number": 0},
        {"event": "told", "number": 1, "reward": 2.0},
        {"event": "told", "number": 2, "reward": 1.5},
        {"event": "told", "number": 3, "reward": 1.5},
        {"event": "told", "number": 4, "reward": None},
    ]
    assert not suggestions.running


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"space": ChoiceSpace({"l0": [0, 1]})}, "space.decisions was"),
        ({"name": "random"}, "controller.name was"),
        ({"options": {"population": 7}}, "controller.population was 20 .* now 7"),
        ({"seed": 4}, "seed was 0 .* now 4"),
        ({"metric": "loss"}, 'metric was "score" .* now "loss"'),
    ],
)
def test_other_settings_are_refused(other: dict[str, Any], field: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"name": "evolution", "metric": "score"}
    asked(suggestions := made(**options), 0, 4)
    suggestions.save(tmp_path / "state.json")
    with pytest.raises(RunError, match=field) as refused:
        made(**options | other).restored(tmp_path / "state.json")
    assert len(str(refused.value).splitlines()) == 1
    made(**options).restored(tmp_path / "state.json")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event": "told", "number": 0, "reward": 1.0}, "candidate 0 waits for no result"),
        ({"event": "withdrawn", "number": 9}, "candidate 9 waits for no result"),
        ({"event": "told", "number": 1, "reward": math.nan}, "finite number"),
        ({"event": "asked", "trial": "x", "source": "uniform", "code": [9] * 6}, "choice 9"),
        ({"event": "asked", "trial": "x", "source": "uniform", "code": [0]}, "6 entries"),
        ({"event": "asked", "trial": "x", "source": "somewhere", "code": [0] * 6}, "source"),
        ({"event": "run", "command": "rm"}, "event"),
    ],
)
def test_a_damaged_event_is_named(event: dict[str, Any], reason: str, tmp_path: Path) -> None:
    asked(suggestions := made(), 0, 1)
    state = saved(suggestions, tmp_path)
    state["events"].append(event)
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match=reason) as refused:
        made().restored(tmp_path / "state.json")
    assert str(refused.value).startswith(f"{tmp_path / 'state.json'}: ")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"[]", b'{"version": 2}', b"[" * 10**5])
def test_what_is_no_state_is_named(content: bytes, tmp_path: Path) -> None:
    for path in (tmp_path / "state.json", tmp_path / "missing.json"):
        (tmp_path / "state.json").write_bytes(content)
        with pytest.raises(RunError, match="this is no saved search") as refused:
            made().restored(path)
        assert len(str(refused.value).splitlines()) == 1
