"""Canonical order of a labelled directed graph: equal for graphs that differ in names alone.

Colour refinement with individualisation: nodes start with what they are, then learn what they read
and who reads them, until nothing changes. Nodes that stay alike are told apart by trying each, and
the smallest description wins. Written out here because a library's graph hash may change between
its versions, and keys are stored for years.

A worked example: `s` is read by `a` and `b`; `c` adds `a` and `b`, `d` reads `b`
alone; all have one label.

    start      by depth and label           s 0   a 1   b 1   c 2   d 2
    refined    `a` has one reader, `b`
               two; `d` reads one node,
               `c` two                    s 0   a 1   b 2   d 3   c 4     all differ: done

Without `d`, `a` and `b` stay alike. They read the same and are read by the same, so they are
twins, and any order of the two gives one description.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from nas.errors import GenomeError

MAX_LEAVES = 2_000
"""Complete labellings tried before a graph is called too symmetric; real ones need one or two."""

Edges = list[list[tuple[str, int]]]  # per node: (what the edge does, index of the other node)


class LabelledNode(NamedTuple):
    """A node as such, whatever its parents are.

    Attributes:
        label: What it is.
        steps: Of each edge to a parent, what that does.
    """

    label: str
    steps: tuple[str, ...]


class Labelling:
    """The search for the smallest description of one graph.

    Args:
        nodes: What there is, each after its parents.
        parents: Of each node, the indices of its parents; -1 is the root, which isn't a node.
    """

    def __init__(self, nodes: list[LabelledNode], parents: list[list[int]]) -> None:
        self.nodes, self.parents = nodes, parents
        self.leaves = 0

    @cached_property
    def reads(self) -> Edges:
        """Returns for every node what it reads."""
        return [
            list(zip(node.steps, parents, strict=True))
            for node, parents in zip(self.nodes, self.parents, strict=True)
        ]

    @cached_property
    def readers(self) -> Edges:
        """Returns for every node who reads it."""
        readers: Edges = [[] for _ in self.nodes]
        for child, described in enumerate(self.reads):
            for what, parent in described:
                if parent >= 0:
                    readers[parent].append((what, child))
        return readers

    def smallest(self) -> tuple[list[int], str]:
        """Returns the order of nodes whose description comes first, and that description.

        Raises:
            GenomeError: when too many labellings would have to be tried.
        """
        # A colour says all that is known of a node without its name. The first is depth and label,
        # depth in front: colours are compared in order, so parents come before their readers.
        labels = [node.label for node in self.nodes]
        starts = list(zip(self._depths(), labels, strict=True))
        # Most graphs differ in depth and label already, and need no refinement.
        return self._best(starts if _differ(starts) else self._refined(_ranks(starts)))

    def _depths(self) -> list[int]:
        """Returns the longest ways from the root, which order nodes so that parents come first."""
        depths: list[int] = []
        for parents in self.parents:
            above = -1
            for parent in parents:
                if parent >= 0 and depths[parent] > above:
                    above = depths[parent]
            depths.append(above + 1)
        return depths

    def _refined(self, colours: list[int]) -> list[int]:
        """Returns the coarsest finer colouring in which alike nodes have alike neighbours.

        One round gives each node the colour (own, those it reads, those that read it), neighbours
        as sorted multisets with what the edges do, and numbers the distinct ones in order.
        """
        while not _differ(colours):
            # The own colour comes first, so that a round splits classes and never reorders them.
            neighbourhoods = [
                (
                    colours[i],
                    tuple(sorted((w, colours[p] if p >= 0 else -1) for w, p in self.reads[i])),
                    tuple(sorted((w, colours[c]) for w, c in self.readers[i])),
                )
                for i in range(len(colours))
            ]
            finer = _ranks(neighbourhoods)
            # Splitting alone: as many classes as before are the same classes.
            if max(finer) == max(colours):
                return finer
            colours = finer
        return colours

    def _best(self, colours: Sequence[Any]) -> tuple[list[int], str]:
        """Returns the smallest description among all discrete colourings finer than this one."""
        # A leaf: all colours differ, so they are an order, and an order is a description.
        if _differ(colours):
            self.leaves += 1
            if self.leaves > MAX_LEAVES:
                raise GenomeError("the graph is too symmetric for a key; make blocks differ")
            order = sorted(range(len(colours)), key=colours.__getitem__)
            return order, self._description(order)
        # Branch on the first class of several nodes. Which class that is depends on colours alone,
        # so graphs that differ in names alone have the same branches, and the same minimum.
        classes: dict[int, list[int]] = {}
        for i, colour in enumerate(colours):
            classes.setdefault(colour, []).append(i)
        alike = next(members for _, members in sorted(classes.items()) if len(members) > 1)
        best: tuple[list[int], str] | None = None
        tried: list[int] = []
        for member in alike:
            if any(self._twins(member, other) for other in tried):
                continue  # swapping twins changes nothing, so one of them speaks for all
            tried.append(member)
            # Individualise: the member gets a colour just below those that it was alike with.
            single = [2 * c + (c == colours[member]) for c in colours]
            single[member] -= 1
            candidate = self._best(self._refined(_ranks(single)))
            if best is None or candidate[1] < best[1]:
                best = candidate
        assert best is not None
        return best

    def _twins(self, a: int, b: int) -> bool:
        """Tells whether two nodes of one colour read the same and are read by the same."""
        return sorted(self.reads[a]) == sorted(self.reads[b]) and sorted(self.readers[a]) == sorted(
            self.readers[b]
        )

    def _description(self, order: list[int]) -> str:
        """Returns JSON of each node's label, and of what its edges do with which parents."""
        # Places stand for names. The root has index -1, and so the last of the places.
        place = [-1] * (len(order) + 1)
        for position, node in enumerate(order):
            place[node] = position
        rows = []
        for i in order:
            label, steps = self.nodes[i]
            places = [place[parent] for parent in self.parents[i]]
            # Edges are sorted, since a sum has no order; where it has one, the step says so.
            rows.append((label, sorted(zip(steps, places, strict=True))))
        return json.dumps(rows)


def _differ(values: Sequence[Any]) -> bool:
    """Tells whether no two values are equal."""
    return len(set(values)) == len(values)


def _ranks(values: Sequence[Any]) -> list[int]:
    """Returns each value's place among the distinct ones, in ascending order."""
    places = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [places[value] for value in values]
