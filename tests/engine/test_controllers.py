"""The suite that every controller must pass: legality, replay, failures, small spaces, learning."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys

import pytest

from nas.controllers import ControllerSettings, make_controller
from nas.controllers.base import Controller, Stop
from nas.errors import ConfigError
from nas.searching import search
from nas.space import ChoiceSpace, Code, Space
from nas.study.failures import FailureKind
from nas.study.store import Store
from tests.engine.toys import CONTROLLERS, SPACES, codes, drive, failed, make_study, scored

pytestmark = pytest.mark.parametrize("name", CONTROLLERS)

SHAPES = {"1 x 50": (1, 50), "2 x 2": (2, 2), "30 x 8": (30, 8)}


def made(name: str, space: Space, seed: int = 0) -> Controller:
    return make_controller(ControllerSettings(name=name), space, seed)


def product(decisions: int, choices: int) -> ChoiceSpace:
    """Choices without an order, so that each is a feature of its own."""
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
            told, code = flight.pop(rng.randrange(len(flight)))
            kind = rng.randrange(9)
            if kind == 0:
                controller.tell(told, code, None, 0.4)
            elif kind == 1:
                controller.withdraw(told, code)
            elif kind == 3:
                controller.stop(told, Stop(code, (0.5 * sum(code),), 0.3))
                controller.stop(None, Stop(code, (0.5 * sum(code),), 0.3))
            else:
                controller.reports(code, (0.5 * sum(code), float(sum(code))))
                controller.tell(told, code, float(sum(code)))
            if kind == 2:
                controller.observe(code, -1.0)
                controller.observe(code, None, 1.0)
    return proposed


@pytest.mark.parametrize("space_name", SPACES)
def test_never_an_illegal_code(name: str, space_name: str) -> None:
    space = SPACES[space_name]()
    for code in fed(made(name, space), range(60)):
        space.check(code)


@pytest.mark.parametrize("shape", SHAPES)
def test_never_an_illegal_code_in_other_shapes(name: str, shape: str) -> None:
    space = product(*SHAPES[shape])
    for code in fed(made(name, space), range(25)):
        space.check(code)


def test_same_seed_and_events_give_the_same_proposals(name: str) -> None:
    space = SPACES["masked"]()
    first, second = (fed(made(name, space, seed=3), range(50)) for _ in range(2))
    assert first == second
    assert fed(made(name, space, seed=4), range(50)) != first


def test_proposing_changes_nothing(name: str) -> None:
    controller = made(name, SPACES["product"]())
    fed(controller, range(30))
    before = [controller.propose(number, draw) for number in (90, 91) for draw in (0, 1)]
    again = [controller.propose(number, draw) for number in (91, 90) for draw in (1, 0)]
    assert before == again[::-1]
    assert len(set(before)) > 1


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-9, 1e9])
def test_any_scale_of_rewards(name: str, scale: float) -> None:
    space = SPACES["one decision"]()
    controller = made(name, space)
    for number in range(40):
        code = controller.propose(number)
        space.check(code)
        controller.asked(number, code)
        controller.tell(number, code, scale * sum(code))
        if number == 20:
            controller.observe(code, 1e9)  # one is absurd


@pytest.mark.parametrize("space_name", ["one decision", "one choice", "two candidates"])
def test_small_spaces_end_clearly(
    name: str, space_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(controller=name, space=SPACES[space_name](), budget=50)
    drive(study)
    run = [record for record in study.records.values() if record.is_scored]
    assert len({record.key for record in run}) == len(run) == study.space.size()
    assert study.idle_seconds() is None and study.ask() is None
    assert "no candidate was found that it hasn't tried" in caplog.text


@pytest.mark.parametrize("shuffle", [None, 1])
def test_absorbing_a_recorded_run_leaves_the_same_next_proposals(
    name: str, shuffle: int | None
) -> None:
    store = Store.open(None)
    study = make_study(store, name, budget=60)
    drive(study, limit=41, shuffle=shuffle)
    again = make_study(store, name, budget=60)
    kept = codes(again)
    assert kept == codes(study)
    rest = [trial.code for trial in drive(study)]
    assert [trial.code for trial in drive(again)][-len(rest) :] == rest


@pytest.mark.parametrize("kind", list(FailureKind))
def test_failures_don_t_stop_it(name: str, kind: FailureKind) -> None:
    clock = iter(range(0, 10**9, 30)).__next__  # back-off passes at once
    study = make_study(controller=name, budget=24, max_failures=1.0, clock=clock)
    rng = random.Random(0)
    for _ in range(400):
        trial = study.ask()
        if trial is None:
            break
        is_bad = sum(trial.code) % 3 == 0 or rng.random() < 0.1
        study.tell(trial, failed(kind) if is_bad else scored(sum(trial.code)))
    assert study.told == 24 and study.in_flight == 0


def test_options_are_checked(name: str) -> None:
    space = SPACES["product"]()
    wrong = ControllerSettings(name=name, options={"speed": 1})
    with pytest.raises(ConfigError, match=r"controller\.options\.speed"):
        make_controller(wrong, space, 0)
    wrong = ControllerSettings(name=name + "x")
    with pytest.raises(ConfigError, match="did you mean"):
        make_controller(wrong, space, 0)


def test_torch_is_loaded_for_ppo_alone(name: str) -> None:
    program = (
        "import sys; import nas.searching; from nas.controllers import *;"
        "from nas.space import ChoiceSpace;"
        "assert 'torch' not in sys.modules and 'ray' not in sys.modules;"
        f"make_controller(ControllerSettings(name={name!r}), ChoiceSpace({{'a': [0, 1]}}), 0);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(name == "ppo"), done.stderr


def test_all_but_random_learn(name: str) -> None:
    """Noisy rewards with a value per choice: late proposals against early ones, three seeds."""
    space = ChoiceSpace({f"l{i}": [0, 1, 2, 3] for i in range(20)})

    def value(candidate: dict[str, int], seed: int) -> float:
        return sum(candidate.values()) + random.Random(seed).gauss(0, 2)

    gains = []
    for seed in range(3):
        found = search(space, value, name, budget=120, seed=seed, control=0.0)
        sums = [sum(record.code) for record in found.trials]
        gains.append(statistics.fmean(sums[-30:]) - statistics.fmean(sums[:30]))
    # A uniform draw sums to 30 with a deviation of 5; a mean of 90 is within 0.5 of it.
    if name == "random":
        assert abs(statistics.fmean(gains)) < 2.5
    else:
        assert statistics.fmean(gains) > 4


def test_a_space_hardly_larger_than_a_pool_ends_clearly(name: str) -> None:
    options = {"pool": 8} if name == "predictor" else {}
    space = ChoiceSpace({"a": [0, 1, 2], "b": [0, 1, 2]})
    settings = ControllerSettings(name=name, options=options)
    found = search(space, lambda c, seed: c["a"] * c["b"], settings, budget=20, control=0.0)
    assert len(found.trials) == 9 and found.best is not None and found.best.reward == 4
