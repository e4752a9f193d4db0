"""The canonical order of labelled graphs: the worked example, and independence of names."""

from __future__ import annotations

import itertools
import json

import pytest

from nas.errors import GenomeError
from nas.genome import canonical
from nas.genome.canonical import LabelledNode, Labelling

# Who reads whom: c adds a and b, d reads b alone. The root is what s reads.
EXAMPLE = {"s": [], "a": ["s"], "b": ["s"], "c": ["a", "b"], "d": ["b"]}


def labelling(graph: dict[str, list[str]], names: list[str]) -> Labelling:
    """Returns the labelling of a graph whose nodes are listed as named; all have one label."""
    index = {name: i for i, name in enumerate(names)}
    parents = [[index[parent] for parent in graph[name]] or [-1] for name in names]
    nodes = [LabelledNode("x", ("reads",) * len(group)) for group in parents]
    return Labelling(nodes, parents)


def listings(graph: dict[str, list[str]]) -> list[list[str]]:
    """Returns every order of the nodes in which parents come first."""
    return [
        list(names)
        for names in itertools.permutations(graph)
        if all(names.index(parent) < names.index(name) for name in graph for parent in graph[name])
    ]


def test_the_worked_example_needs_one_leaf() -> None:
    for names in listings(EXAMPLE):
        search = labelling(EXAMPLE, names)
        order, description = search.smallest()
        assert [names[i] for i in order] == ["s", "a", "b", "d", "c"]
        places = [[place for _, place in steps] for _, steps in json.loads(description)]
        assert places == [[-1], [0], [0], [2], [1, 2]]
        assert search.leaves == 1


def test_twins_are_tried_once() -> None:
    twins = {name: EXAMPLE[name] for name in "sabc"}
    searches = [labelling(twins, names) for names in listings(twins)]
    assert len(searches) == 2
    assert len({search.smallest()[1] for search in searches}) == 1
    assert [search.leaves for search in searches] == [1, 1]


def test_alike_nodes_that_are_no_twins_are_tried_each() -> None:
    """Two chains beside each other: refinement can't tell them apart, and they share no reader."""
    chains = {"s": [], "a": ["s"], "b": ["s"], "c": ["a"], "d": ["b"]}
    searches = [labelling(chains, names) for names in listings(chains)]
    assert len({search.smallest()[1] for search in searches}) == 1
    assert {search.leaves for search in searches} == {2}


def test_too_many_labellings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_LEAVES", 1)
    chains = {"s": [], "a": ["s"], "b": ["s"], "c": ["a"], "d": ["b"]}
    with pytest.raises(GenomeError, match="too symmetric"):
        labelling(chains, list(chains)).smallest()
