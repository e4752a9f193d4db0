"""Open tables: lines of other packages, in this process and declared by what is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.config.loading import load_run, load_search, to_yaml
from nas.config.overrides import Override
from nas.errors import ConfigError
from search_spaces.registry import SPACES, make_space
from tests.house.installed import install

SPACE = '''
from typing import Literal

from nas.space import Decision
from search_spaces import zoo
from search_spaces.base import DetectorSpace, SpaceSettings


class TwoSettings(SpaceSettings):
    name: Literal["two"] = "two"
    sides: tuple[int, ...] = (128, 192)


class Two(DetectorSpace):
    """SSDlite at one of some sides."""

    name = "two"
    settings_type = TwoSettings
    proxy_scale = {"width": 0.5, "input_size": 96}

    @property
    def decisions(self):
        return (Decision("side", self.settings.sides),)

    def legal(self, prefix):
        return (True,) * len(self.settings.sides)

    def decode(self, code):
        self.check(code)
        return zoo.genome("ssdlite320-mobilenetv3-large").scaled(
            input_size=self.settings.sides[code[0]]
        )

    def encode(self, candidate):
        return (self.settings.sides.index(candidate.input.size),)


class Nameless(Two):
    settings_type = SpaceSettings
'''
LINES = """
[spinenas.spaces]
two = their_space.space:Two
nameless = their_space.space:Nameless
gone = their_space.nowhere:Gone
mobile = their_space.space:Two
odd = os
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Their package on the path, and the table of spaces as in a process that just began."""
    install(tmp_path, "their_space", {"space": SPACE}, LINES)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = dict(SPACES)
    monkeypatch.setattr(SPACES, "_complete", False)
    yield tmp_path
    for name in SPACES.keys() - lines.keys():
        del SPACES[name]
    for name in [name for name in sys.modules if name.startswith("their_space")]:
        del sys.modules[name]


def test_an_installed_space_has_its_own_settings_and_scale(installed: Path) -> None:
    named = [Override.parse("--set", "space.name=two")]
    config = load_search(None, [*named, Override.parse("--set", "space.sides=[160]")])
    assert config.space.model_dump() == {"name": "two", "sides": (160,)}
    assert (config.proxy.scale.width, config.proxy.scale.input_size) == (0.5, 96)
    (installed / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_run(installed / "config.yaml") == config
    space = make_space(config.space)
    assert space.size() == 1 and space.features(space.decode((0,))) == {"side": 160.0}
    assert [source.size for source in space.inputs] == [160]
    assert space.key(space.decode((0,))) == space.decode((0,)).key


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["space.name=tow"], "it should be 'spinenet' or 'mobile' or .*'two'; did you mean 'two'"),
        (["space.name=two", "space.side=[1]"], "unknown key 'side' in space; did you mean 'sides'"),
        (["space.name=two", "space.sides=7"], r"space\.sides is 7; it should be a valid tuple"),
        (["space.name=nameless"], "settings_type needs the field name: Literal\\['nameless'\\]"),
        (["space.name=gone"], "'gone' is their_space.nowhere:Gone, which can't be imported"),
        (["space.name=odd"], r"space\.name is 'odd'; it should be"),
        (
            ["space.name=their_space.space:Two"],
            r"space\.name is 'their_space.space:Two'; it should",
        ),
    ],
)
@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_theirs_is_told_like_ours(sets: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        load_search(None, [Override.parse("--set", one) for one in sets])
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("installed")
def test_what_can_t_be_added_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    SPACES.complete()
    assert "their_space: spaces 'mobile' is left out: the name is search_spaces." in caplog.text
    assert "their_space: spaces 'odd' is left out: 'os' is no module:Class" in caplog.text
    assert SPACES["mobile"].startswith("search_spaces.") and "odd" not in SPACES


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="spaces: 'mobile' is search_spaces"):
        SPACES["mobile"] = "their_space.space:Two"
    with pytest.raises(KeyError):
        SPACES["nobody"]


def test_nothing_installed_is_looked_at_before_a_name_is_unknown() -> None:
    code = (
        "import sys; from nas.config.loading import load_search; load_search('mobile_fod');"
        "from search_spaces.registry import SPACES; print(SPACES._complete)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
