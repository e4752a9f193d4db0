"""The canonical key: one string per network, whatever its blocks are called and listed.

Colour refinement with individualisation over the resolved, pruned graph: blocks start with what
they are, then learn what they read and who reads them, until nothing changes.  Blocks that stay
alike are told apart by trying each, and the smallest description wins.  Written out here because
a library's graph hash may change between its versions, and keys are stored for years.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import GenomeError
from nas.genome.blocks import IMAGE
from nas.genome.part import Part
from nas.genome.shapes import REMEMBERED, Fitted

if TYPE_CHECKING:
    from nas.genome.genome import Genome

MAX_LEAVES = 2_000
"""Complete labellings tried before a graph is called too symmetric; real ones need one or two."""

Edges = list[list[tuple[str, int]]]  # per block: (what the edge does, index of the other block)


def key(genome: Genome) -> str:
    """sha256 of the canonical description, as 64 hex digits.

    Raises:
        GenomeError: when the genome isn't legal, or is too symmetric.
    """
    return hashlib.sha256(_canonical(genome)[1].encode()).hexdigest()


def canonical_order(genome: Genome) -> list[str]:
    """Block ids so that parents come first, equal for genomes of equal key up to the ids."""
    return _canonical(genome)[0]


def _canonical(genome: Genome) -> tuple[list[str], str]:
    blocks, fits, taps, *_ = genome.layout
    names = list(blocks)
    index = {name: i for i, name in enumerate(names)}
    index[IMAGE] = -1
    tapped: dict[str, tuple[str, ...]] = {}
    for position, tap in enumerate(taps):
        transform = form(tap.transform) if tap.transform else ""
        said = f"{position},{tap.point},{transform},{tap.training_only}"
        tapped[tap.block] = (*tapped.get(tap.block, ()), said)
    nodes = [_node(fits[name], block.rank, tapped.get(name, ())) for name, block in blocks.items()]
    parents = [[index[parent] for parent in block.parents] for block in blocks.values()]
    order, description = _Labelling(nodes, parents).smallest()
    rest = [_whole(part) for part in (genome.input, genome.neck, genome.head, genome.norm)]
    return [names[i] for i in order], f'[1, "{description}", [{", ".join(rest)}]]'


class _Node(NamedTuple):
    """A block as such, whatever its parents are.

    Attributes:
        label: what it is.
        steps: per edge, what that does.
        said: it in a description, with a %d for the place of each parent.
        arranged: sorts places of parents by what the edges do, and where that is equal by place.
    """

    label: str
    steps: tuple[str, ...]
    said: str
    arranged: Callable[[list[int]], Any]


@lru_cache(maxsize=512)
def _node(fit: Fitted, rank: int | None, tapped: tuple[str, ...]) -> _Node:
    label, steps, edges = _described(fit)
    label = f"{label},{rank}|{[*tapped]}"
    said = _quoted(f"[{_filled_later(label)}, [") + edges
    return _Node(label, steps, said, _arranged(steps))


@lru_cache(maxsize=REMEMBERED)
def _described(fit: Fitted) -> tuple[str, tuple[str, ...], str]:
    """What a block is but for its rank and taps, what each edge does, and that as it is said."""
    block, combine = fit.block, fit.block.combine
    if combine == "concat" and len(block.inputs) == 1:
        combine = "sum"  # of one map both are the map itself
    label = (
        f"{form(block.op)},{fit.width},{block.level},{combine},"
        f"{block.fuse_activation},{block.repeats}"
    )
    steps = []
    for position, edge in enumerate(block.inputs):
        ordered = position if combine == "concat" else ""
        steps.append(f"{_resampling(fit, position)},{edge.point},{ordered}")
    edges = ", ".join(f"[{_filled_later(step)}, %d]" for step in sorted(steps))
    return label, tuple(steps), _quoted(f"{edges}]]")


@lru_cache(maxsize=REMEMBERED)
def _arranged(steps: tuple[str, ...]) -> Callable[[list[int]], Any]:
    if len(set(steps)) == len(steps):
        return operator.itemgetter(*sorted(range(len(steps)), key=steps.__getitem__))
    if len(set(steps)) == 1:
        return lambda places: tuple(sorted(places))
    return lambda places: tuple([at for _, at in sorted(zip(steps, places, strict=True))])


def _filled_later(text: str) -> str:
    """JSON of a text that stays as it is when places are filled in."""
    return json.dumps(text).replace("%", "%%")


def _quoted(text: str) -> str:
    """A text as it stands between the quotes of a string in JSON."""
    return json.dumps(text)[1:-1]


def _unquoted(text: str) -> str:
    return str(json.loads(f'"{text}"'))


def _resampling(fit: Fitted, position: int) -> str:
    part = fit.block.inputs[position].resample
    if not part.changes:
        return part.type
    detail = part.detail(fit.sources[position].shape.size, fit.ins[position].size)
    return f"{form(part)},{fit.middles[position]},{detail}"


def _whole(part: Part) -> str:
    """A part's fields, all of those that aren't its type's defaults, as a string in JSON."""
    cached = part.__dict__.get("_whole")
    if cached is None:
        fields = json.dumps(_said(part), sort_keys=True)
        cached = part.__dict__["_whole"] = json.dumps(fields)
    return str(cached)


def form(part: Part) -> str:
    """A part's fields without those that are compared resolved, or that nothing reads."""
    cached = part.__dict__.get("_form")
    if cached is None:
        cached = part.__dict__["_form"] = _form(part)
    return str(cached)


def _form(part: Part) -> str:
    # Widths are compared as they are under the scale.
    return json.dumps(_said(part, {"width", "scalable"}), sort_keys=True)


def _said(value: Any, unread: Collection[str] = ()) -> Any:
    """What a part says beyond its type's defaults, so that a field added later keeps old keys."""
    if isinstance(value, tuple):
        return [_said(item) for item in value]
    if not isinstance(value, Part):
        return value
    part, derived = value.resolved()
    said = {"type": part.type} if hasattr(part, "type") else {}
    for name, field in type(part).model_fields.items():
        item = getattr(part, name)
        if name not in unread and name not in derived and item != field.default:
            said[name] = _said(item)
    return said


class _Labelling:
    """The search for the smallest description of one labelled directed graph."""

    def __init__(self, nodes: list[_Node], parents: list[list[int]]) -> None:
        """Begins with blocks, and the indices of the parents of each; -1 is the image."""
        self.nodes, self.parents = nodes, parents
        self.leaves = 0

    @cached_property
    def reads(self) -> Edges:
        """Of every block, what it reads."""
        return [
            list(zip(node.steps, parents, strict=True))
            for node, parents in zip(self.nodes, self.parents, strict=True)
        ]

    @cached_property
    def readers(self) -> Edges:
        """Of every block, who reads it."""
        readers: Edges = [[] for _ in self.nodes]
        for child, described in enumerate(self.reads):
            for what, parent in described:
                if parent >= 0:
                    readers[parent].append((what, child))
        return readers

    def smallest(self) -> tuple[list[int], str]:
        """The order of blocks whose description comes first, and that description."""
        labels = [node.label for node in self.nodes]
        starts = list(zip(self._depths(), labels, strict=True))
        return self._best(starts if _differ(starts) else self._refined(_ranks(starts)))

    def _depths(self) -> list[int]:
        depths: list[int] = []
        for parents in self.parents:
            above = -1
            for parent in parents:
                if parent >= 0 and depths[parent] > above:
                    above = depths[parent]
            depths.append(above + 1)
        return depths

    def _refined(self, colours: list[int]) -> list[int]:
        while not _differ(colours):
            seen = [
                (
                    colours[i],
                    tuple(sorted((w, colours[p] if p >= 0 else -1) for w, p in self.reads[i])),
                    tuple(sorted((w, colours[c]) for w, c in self.readers[i])),
                )
                for i in range(len(colours))
            ]
            finer = _ranks(seen)
            if max(finer) == max(colours):
                return finer
            colours = finer
        return colours

    def _best(self, colours: Sequence[Any]) -> tuple[list[int], str]:
        if _differ(colours):
            self.leaves += 1
            if self.leaves > MAX_LEAVES:
                raise GenomeError("the graph is too symmetric for a key; make blocks differ")
            order = sorted(range(len(colours)), key=colours.__getitem__)
            return order, self._description(order)
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
            single = [2 * c + (c == colours[member]) for c in colours]
            single[member] -= 1
            found = self._best(self._refined(_ranks(single)))
            if best is None or _unquoted(found[1]) < _unquoted(best[1]):
                best = found
        assert best is not None
        return best

    def _twins(self, a: int, b: int) -> bool:
        return sorted(self.reads[a]) == sorted(self.reads[b]) and sorted(self.readers[a]) == sorted(
            self.readers[b]
        )

    def _description(self, order: list[int]) -> str:
        """Of every block its label, and what each edge does with its parent's place.

        That is JSON, as it stands between the quotes of a string in JSON.
        """
        place = [-1] * (len(order) + 1)  # the last one is the image's
        for position, block in enumerate(order):
            place[block] = position
        said = []
        for i in order:
            node = self.nodes[i]
            places = [place[parent] for parent in self.parents[i]]
            said.append(node.said % node.arranged(places))
        return f"[{', '.join(said)}]"


def _differ(values: Sequence[Any]) -> bool:
    return len(set(values)) == len(values)


def _ranks(values: Sequence[Any]) -> list[int]:
    places = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [places[value] for value in values]
