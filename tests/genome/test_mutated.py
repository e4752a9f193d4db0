"""Genomes changed at random: read, counted and written alike, or refused in one line."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nas.cost import profile
from nas.errors import GenomeError
from nas.genome import Genome, plan
from tests.genome.counting import document

NAMES = ("ssdlite320-mobilenetv3-large", "mobilenetv2-0.75-rfcr", "bidet-ssd300")
NUMBERS = st.sampled_from(
    (0, -1, 1, 2, 3, 7, 64, 999, 10**9, 10**30, 0.0, 0.3, 1.0, 1e-300, 1e300, float("nan"))
) | st.sampled_from((float("inf"), -float("inf")))
TEXTS = st.sampled_from(("", "image", "stem", "conv", "1", "\x1b[2J", "é" * 3, "x" * 70, "a\nb"))
LEAVES: st.SearchStrategy[Any] = NUMBERS | TEXTS | st.none() | st.booleans()
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(TEXTS, LEAVES, max_size=2)

# What is done to one place, and what that does to the meaning: `value` destroys or changes it,
# `drop` takes the default or destroys it, `again` and `swap` are other listings.
CHANGES = ("value", "drop", "again", "swap", "unknown", "cycle")


@cache
def texts() -> tuple[str, ...]:
    return tuple(json.dumps(document(name)) for name in NAMES)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    found = []
    for step, item in items:
        found.append((*path, step))
        if isinstance(item, dict | list):
            found += places(item, (*path, step))
    return found


def change(data: st.DataObject, tree: Any) -> None:
    """Does one thing to one place."""
    path = data.draw(st.sampled_from(places(tree)), "place")
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    step, what = path[-1], data.draw(st.sampled_from(CHANGES), "change")
    if what == "drop":
        del holder[step]
    elif what == "again" and isinstance(holder, list):
        holder.insert(step, holder[step])
    elif what == "swap" and isinstance(holder, list):
        holder.reverse()
    elif what == "unknown" and isinstance(holder, dict):
        holder[data.draw(TEXTS)] = holder[step]
    elif what == "cycle" and "blocks" in tree and isinstance(tree["blocks"], list):
        blocks = [one for one in tree["blocks"] if isinstance(one, dict) and one.get("inputs")]
        ids = [one.get("id") for one in blocks]
        for one in blocks[:1]:
            one["inputs"] = [{"block": data.draw(st.sampled_from(ids))}]
    else:
        holder[step] = data.draw(VALUES, "value")


def assert_taken_or_refused(text: str | bytes) -> None:
    began = time.process_time()
    try:
        genome = Genome.from_json(text)
        assert plan(genome)[-1].kind == "head"
        again = Genome.from_json(genome.to_json())
        assert again == genome and again.key == genome.key
        counted = profile(genome)
        assert counted.params >= 0 and counted.bits == 32 * counted.params
    except GenomeError as error:
        message = str(error)
        assert message and len(message.splitlines()) == 1 and message.isprintable(), ascii(message)
        assert len(message) < 1000
    assert time.process_time() - began < 1


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_changed_fields_are_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    tree = json.loads(data.draw(st.sampled_from(texts())))
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        if tree:
            change(data, tree)
    assert_taken_or_refused(json.dumps(tree))


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
def test_changed_texts_are_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(texts())).encode()
    at = data.draw(st.integers(0, len(text)), "at")
    end = data.draw(st.sampled_from((at, at + 1, at + 9, len(text))), "end")
    put = data.draw(
        st.sampled_from((b"", b"{", b"[" * 5000, b"\xff", b"\x00", b'"', b"1e999", b","))
    )
    assert_taken_or_refused(text[:at] + put + text[end:])
