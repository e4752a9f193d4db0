"""The suite that every controller passes, run on ours; and what only ours promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nas.controllers import ControllerSettings, make_controller
from nas.controllers.base import Controller
from nas.errors import ConfigError
from nas.searching import search
from nas.space import ChoiceSpace, Space
from nas.study.settings import NO_CONTROL
from nas.testing.controllers import SPACES, ControllerSuite
from tests.engine.toys import CONTROLLERS

each = pytest.mark.parametrize("name", CONTROLLERS)


class Ours(ControllerSuite):
    name: str

    def make_controller(self, space: Space, seed: int) -> Controller:
        return make_controller(ControllerSettings(name=self.name), space, seed)


class TestRandom(Ours):
    name = "random"
    learns = False


class TestEvolution(Ours):
    name = "evolution"


class TestReinforce(Ours):
    name = "reinforce"


class TestPPO(Ours):
    name = "ppo"


class TestPredictor(Ours):
    name = "predictor"


@each
def test_options_are_checked(name: str) -> None:
    space = SPACES["product"]()
    wrong = ControllerSettings(name=name, options={"speed": 1})
    with pytest.raises(ConfigError, match=r"controller\.options\.speed"):
        make_controller(wrong, space, 0)
    wrong = ControllerSettings(name=name + "x")
    with pytest.raises(ConfigError, match="did you mean"):
        make_controller(wrong, space, 0)


@each
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


@each
def test_a_space_hardly_larger_than_a_pool_ends_clearly(name: str) -> None:
    options = {"pool": 8} if name == "predictor" else {}
    space = ChoiceSpace({"a": [0, 1, 2], "b": [0, 1, 2]})
    algorithm = ControllerSettings(name=name, options=options)
    found = search(
        space, lambda c, seed: c["a"] * c["b"], algorithm, budget=20, settings=NO_CONTROL
    )
    assert len(found.trials) == 9 and found.best is not None and found.best.reward == 4
