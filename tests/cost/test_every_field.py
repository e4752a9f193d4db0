"""Every field of the schema: each value is counted as an independent counter says, or refused.

The fields are found by introspection, so that one without a case makes a test fail.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

import nas.genome
from nas.cost import Profile, profile
from nas.errors import GenomeError
from nas.genome import Genome
from nas.genome.part import Part
from nas.genome.plan import lower
from nas.models import build
from tests.cost.test_profile import saved_by_late_upsampling
from tests.genome.counting import Layer, layers

CLASSES = 5
Document = dict[str, Any]


def block(name: str, level: int, op: Document, *inputs: Document, **fields: Any) -> Document:
    return {"id": name, "level": level, "op": op, "inputs": list(inputs), **fields}


def reads(name: str, **fields: Any) -> Document:
    return {"block": name, **fields}


ALPHA: Document = {"resample": {"type": "alpha"}}
SEPARABLE: Document = {"resample": {"type": "separable"}}
STEM = block("stem", 1, {"type": "conv", "width": 8, "stride": 2}, reads("image"))
SE: Document = {"squeeze_excite": {"divisor": 4}, "shortcut": False}
OCTAVES: list[Document] = [{"type": "octave"}, {"type": "octave", "size": 4.0}]
BOXES: list[Document] = [
    {"type": "default_boxes", "scale": 0.2, "next_scale": 0.5},
    {"type": "default_boxes", "scale": 0.5, "next_scale": 0.9, "squares": [0.3, 0.4, 0.5]},
]
ENDS: Document = {"type": "endpoints", "width": 12}
PERMUTED = [
    STEM,
    block("pool", 2, {"type": "max_pool"}, reads("stem")),
    block("left", 2, {"type": "bottleneck", "width": 4}, reads("pool"), repeats=2),
    block("right", 2, {"type": "bottleneck", "width": 4}, reads("pool")),
    block(
        "both",
        3,
        {"type": "residual", "width": 16, "stride": 2},
        *(reads("left"), reads("right")),
        rank=1,
        fuse_activation="relu",
    ),
    block(
        "up", 2, {"type": "residual", "width": 6}, reads("both", **ALPHA), reads("left", **ALPHA)
    ),
    block("down", 5, {"type": "bottleneck", "width": 4}, reads("left", **ALPHA)),
]
MOBILE = [
    STEM,
    block("ir", 2, {"type": "inverted_residual", "width": 8, "stride": 2, **SE}, reads("stem")),
    block("tucker", 2, {"type": "tucker", "width": 8, "input_ratio": 3.0}, reads("ir"), repeats=2),
    block(
        "fused",
        3,
        {"type": "fused_inverted_residual", "width": 12, "stride": 2, **SE},
        reads("tucker"),
        reads("ir"),
        combine="concat",
    ),
]
WEIGHTED = block(
    "both",
    2,
    {"type": "conv", "width": 6, "stride": 2},
    *(reads("stem"), reads("other")),
    combine="weighted_sum",
    repeats=2,
)
HOSTS: dict[str, Document] = {
    "weighted": {
        "input": {"size": 128},
        "blocks": [
            STEM,
            block("other", 1, {"type": "conv", "width": 8, "kernel": 1}, reads("stem")),
            WEIGHTED,
        ],
        "taps": [reads("both"), reads("both")],
        "head": {"type": "retinanet", "width": 8, "depth": 1, "anchors": OCTAVES},
    },
    "permuted": {
        "input": {"size": 128},
        "blocks": PERMUTED,
        "taps": [reads("up"), reads("down")],
        "neck": ENDS,
        "head": {"type": "retinanet", "width": 8, "depth": 2, "anchors": OCTAVES},
    },
    "separable": {
        "input": {"size": 128},
        "blocks": [
            *PERMUTED[:5],
            block("far", 4, {"type": "residual", "width": 8}, reads("left", **SEPARABLE)),
        ],
        "taps": [reads("both"), reads("far")],
        "neck": ENDS,
        "truncation": {"after": "pool", "through": "right"},
        "head": {"type": "retinanet", "separable": True, "depth": 1, "anchors": OCTAVES},
    },
    "mobile": {
        "input": {"size": 64},
        "blocks": MOBILE,
        "taps": [
            reads("ir", point="expand"),
            reads("fused", transform={"type": "pool"}),
        ],
        "neck": {"type": "none"},
        "scale": {"width": 1.25, "divisor": 4},
        "head": {"type": "ssd", "anchors": BOXES},
    },
    "rfcr": {
        "input": {"size": 64},
        "blocks": MOBILE,
        "taps": [reads("tucker"), reads("fused")],
        "neck": {"type": "rfcr", "collect": 6, "fuse": 7, "target": 1, "outputs": [0, 1]},
        "head": {"type": "ssd", "separable": True, "anchors": BOXES},
    },
    "l2_norm": {
        "input": {"size": 64},
        "blocks": MOBILE,
        "taps": [reads("tucker", transform={"type": "l2_norm"}), reads("fused")],
        "head": {"type": "ssd", "anchors": BOXES},
    },
    "mimicdet": {
        "input": {"size": 128},
        "blocks": PERMUTED,
        "taps": [reads("left", training_only=True), reads("up"), reads("down")],
        "neck": ENDS,
        "head": {
            "type": "mimicdet",
            "anchors": OCTAVES,
            "student_levels": [1, 2],
            "teacher": {"levels": [0, 1]},
        },
    },
}
UNBUILT = {"L2Norm", "MimicDetHead", "Teacher"}
NUMBERS = (0, 1, 2, 3, 8, 0.25, 1.5)


class Case(NamedTuple):
    """A part of a host, and the way to it in the host's document."""

    host: str
    path: tuple[str | int, ...]


def kinds(part: type[Part] = Part) -> Iterator[type[Part]]:
    for kind in part.__subclasses__():
        if kind.__module__.startswith(nas.genome.__name__):
            if "type" not in kind.model_fields or not kind.model_fields["type"].is_required():
                yield kind  # the others are what the types of one kind of part have in common
            yield from kinds(kind)


def parts_of(part: Part, path: tuple[str | int, ...] = ()) -> Iterator[tuple[type[Part], Any]]:
    yield type(part), path
    for name in type(part).model_fields:
        value = getattr(part, name)
        for index, item in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(item, Part):
                yield from parts_of(item, (*path, name, *((index,) if value is not item else ())))


@cache
def cases() -> dict[type[Part], list[Case]]:
    """Of every kind of part one place in each of two hosts, at most."""
    found: dict[type[Part], list[Case]] = {}
    for host, document in HOSTS.items():
        seen = set()
        for kind, path in parts_of(Genome.model_validate(document)):
            if kind not in seen and len(found.get(kind, ())) < 2:
                seen.add(kind)
                found.setdefault(kind, []).append(Case(host, path))
    return found


def values(annotation: Any, now: Any) -> Iterator[Any]:
    """Values to try for a field, as JSON has them; those that aren't legal are refused."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from values(get_args(annotation)[0], now)
    elif origin is Literal:
        yield from get_args(annotation)
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from values(one, now)
    elif annotation is bool:
        yield from (False, True)
    elif annotation in (int, float):
        yield from NUMBERS
        yield from (now, 2 * now) if isinstance(now, int | float) else ()
    elif annotation is str:
        yield from ("", "other", "pool", "fused", now)
    elif annotation is type(None):
        yield None
    elif origin is tuple:
        items = list(now) if isinstance(now, list | tuple) else [0.3, 0.6]
        yield from (items[:-1], [*items, *items[-1:]], items[::-1], items[:1], items)
    elif isinstance(annotation, type) and issubclass(annotation, Part):
        yield from _instances(annotation)
    else:
        raise TypeError(f"no values for {annotation}")


def _instances(kind: type[Part]) -> Iterator[Any]:
    """This kind, or every type of it, as it stands in the hosts."""
    for one in (kind, *kinds(kind)):
        for case in cases().get(one, ()):
            yield at(Genome.model_validate(HOSTS[case.host]).model_dump(mode="json"), case.path)


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def variants(kind: type[Part], field: str) -> Iterator[Document]:
    for case in cases()[kind]:
        whole = Genome.model_validate(HOSTS[case.host]).model_dump(mode="json")
        for value in values(kind.model_fields[field].annotation, at(whole, case.path).get(field)):
            changed = copy.deepcopy(whole)
            at(changed, case.path)[field] = value
            yield changed


def outcome(document: Document) -> Profile | str:
    """What a genome costs, checked against both judges; or by what it is refused."""
    try:
        genome = Genome.model_validate(document)
        genome.validate()
    except ValidationError:
        return "schema"
    except GenomeError:
        return "structure"
    try:
        counted = profile(genome, num_classes=CLASSES)
    except GenomeError as error:
        reason = str(error)
    else:
        assert_counts(genome, counted)
        return counted
    with pytest.raises(GenomeError) as refused, torch.device("meta"):
        build(genome, CLASSES)
    assert str(refused.value) == reason
    assert "legal" in reason and len(reason.splitlines()) == 1
    return "unbuilt"


def assert_counts(genome: Genome, counted: Profile) -> None:
    expected = [layer for unit in lower(genome) for layer in layers(unit, CLASSES)]
    assert counted.params == sum(layer.params() for layer in expected)
    assert counted.macs == sum(layer.macs for layer in expected)
    assert counted.bits == 32 * counted.params
    with torch.device("meta"):
        model = build(genome, CLASSES).eval()
    assert counted.params == sum(weights.numel() for weights in model.parameters())
    macs = counted.macs - saved_by_late_upsampling(genome)
    if (tuple(expected), macs) not in _judged:  # torch's counter takes ten times as long
        assert macs == flops(model, genome.input.size)
        _judged.add((tuple(expected), macs))


_judged: set[tuple[tuple[Layer, ...], int]] = set()


def flops(model: Any, size: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.raw(torch.empty(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str))
def test_every_value_is_counted_or_refused(kind: type[Part]) -> None:
    for field in kind.model_fields:
        outcomes = [outcome(document) for document in variants(kind, field)]
        assert outcomes, f"{kind.__name__}.{field}: no value was tried"
        accepted = [one for one in outcomes if one not in ("schema", "structure")]
        assert accepted, f"{kind.__name__}.{field}: every value tried is illegal"
        counts = [one for one in accepted if isinstance(one, Profile)]
        assert bool(counts) != (kind.__name__ in UNBUILT), f"{kind.__name__}.{field}"


def test_the_hosts_hold_every_kind_of_part() -> None:
    assert set(cases()) == set(kinds())
