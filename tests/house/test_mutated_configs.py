"""Configs changed at random: read as what they say and written back alike, or refused in a line."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nas.config.loading import load_run, load_search, load_train, to_yaml
from nas.config.overrides import Override
from nas.config.schema import SearchConfig, TrainConfig
from nas.errors import ConfigError
from tests.genome.test_mutated import places

NUMBERS = st.sampled_from(
    (0, -1, 1, 2, 0.5, 1.5, 10**9, 10**400, 1e-300, 1e300, float("nan"), float("inf"), -0.0)
)
TEXTS = st.sampled_from(
    ("", "auto", "inline", "ray", "8h", "1e9h", "1" * 400 + "h", "yes", "mobile", "a\nb", "\x1b[1m")
)
LEAVES: st.SearchStrategy[Any] = NUMBERS | TEXTS | st.none() | st.booleans()
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(TEXTS, LEAVES, max_size=2)
SNIPPETS = st.sampled_from(
    (
        *(b"", b"\t", b"\xff\xfe", b"&a [*a]", b"*a", b"&a {x: 1}", b"<<: {seed: 1}", b"seed: 1\n"),
        *(b"!!python/object:os.system {}", b"!!binary x", b"!!timestamp x", b"{" * 3000),
        *(b"? [a]\n: 1\n", b"---\n", b"%YAML 9.9\n", b"0o8", b"1_0", b".nan", b"'", b"\x00", b": "),
    )
)


def assert_taken_or_refused(kind: str, text: bytes, sets: list[str]) -> None:
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.yaml"
        path.write_bytes(text)
        try:
            overrides = [Override.parse("--set", one) for one in sets]
            load = load_search if kind == "search" else load_train
            config = load(str(path), overrides)
            path.write_text(to_yaml(config), encoding="utf-8")
            assert to_yaml(load_run(path)) == to_yaml(config)
        except ConfigError as error:
            message = str(error)
            assert message and len(message.splitlines()) == 1, ascii(message)
            assert message.isprintable(), ascii(message)
            assert len(message) < 1500
    assert time.process_time() - began < 1


def whole(kind: str) -> Any:
    return yaml.safe_load(to_yaml(SearchConfig() if kind == "search" else TrainConfig()))


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_changed_settings_are_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    """A value changes what is meant or destroys it; a dropped key takes its default."""
    kind = data.draw(st.sampled_from(("search", "train")))
    tree = whole(kind)
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        path = data.draw(st.sampled_from(places(tree)), "place")
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        if data.draw(st.booleans(), "drop"):
            del holder[path[-1]]
        else:
            holder[path[-1]] = data.draw(VALUES, "value")
        if not tree:
            return
    text = yaml.safe_dump(tree, allow_unicode=True).encode()
    assert_taken_or_refused(kind, text, [])


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_changed_files_are_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    """Bytes put in, over or away: the YAML says something else, or nothing."""
    kind = data.draw(st.sampled_from(("search", "train")))
    text = b"seed: 1\nbudget: 3\ncompute: {executor: ray, workers: 2}\n"
    text += b"objective: {limits: {params: 3e6}}\n" if kind == "search" else b"recipe: short\n"
    at = data.draw(st.integers(0, len(text)), "at")
    end = data.draw(st.sampled_from((at, at, at + 1, at + 7, len(text))), "end")
    assert_taken_or_refused(kind, text[:at] + data.draw(SNIPPETS) + text[end:], [])


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_options_are_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    """`--set` with any key and any text."""
    kind = data.draw(st.sampled_from(("search", "train")))
    sets = []
    for _ in range(data.draw(st.integers(1, 3), "options")):
        path = data.draw(st.sampled_from(places(whole(kind))), "place")
        key = ".".join(map(str, path)) + data.draw(st.sampled_from(("", "", ".x", ".", "..y")))
        value = data.draw(VALUES.map(str) | SNIPPETS.map(lambda b: b.decode("latin-1")), "value")
        sets.append(key + data.draw(st.sampled_from(("=", "=", "", "=="))) + value)
    assert_taken_or_refused(kind, b"", sets)
