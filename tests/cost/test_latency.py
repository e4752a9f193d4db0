"""A table by hand: read from the page on latency, counted in another way, and as a limit."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cost import LatencyTable, families, latency_ms, profile, read_table
from nas.errors import ConfigError
from nas.genome import Genome
from nas.space import ChoiceSpace
from nas.study.failures import FailureKind
from nas.study.store import Store, find
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace
from tests.cost.test_device_table import small

PAGE = (Path(nas.__file__).parents[1] / "docs" / "latency.md").read_text(encoding="utf-8")
CONDITIONS = {"device": "Pixel 4", "runtime": "made up", "threads": 1, "precision": "float32"}
RELU = {"relu": {"ms": {"calls": 0.5}}}


def document(weights: Any = RELU, **changes: Any) -> dict[str, Any]:
    return {"version": 2, **CONDITIONS, "overhead_ms": 0.5, "families": weights, **changes}


def table(names: Any, **ms: float) -> LatencyTable:
    """A table in which the operators of all families have these weights."""
    return LatencyTable.model_validate(document({name: {"ms": ms} for name in names}))


# --- the sum ----------------------------------------------------------------------------------


def sampled(count: int) -> list[Genome]:
    space, rng = SpineNetSpace(), random.Random(5)
    return [space.sample(rng) for _ in range(count)]


GENOMES = [*(zoo.genome(name) for name in zoo.names()), *sampled(8)]


@pytest.mark.parametrize("genome", GENOMES, ids=lambda genome: genome.name or "sampled")
def test_at_a_nanosecond_each_multiply_adds_are_counted(genome: Genome) -> None:
    table_of_macs = {name: {"ms": {"macs": 1e-6}} for name in families(genome)}
    times = LatencyTable.model_validate(document(table_of_macs, channel_block=1))
    counted = 0.5 + profile(genome).macs * 1e-6
    if genome.neck.type == "endpoints":
        # An upward edge's last 1×1 runs on the small map, and is counted on the large one.
        assert counted / 2 < latency_ms(genome, times) < counted
    else:
        assert latency_ms(genome, times) == pytest.approx(counted, rel=1e-9)


def test_a_table_by_hand_is_whole_for_what_the_families_name() -> None:
    names = list(families(small(), 3))
    assert names == [
        *("input", "normalize", "conv k3 s2 of the picture", "relu"),
        *("conv k3 s1", "flatten", "join", "output"),
    ]
    # Two convolutions of the head, of 12 and of 16 filters, and what is behind each of them.
    assert latency_ms(small(), table(names, calls=1.0), 3) == 0.5 + 4 + 2 * 4
    assert families(small(), 3)["conv k3 s1"] == 16 * 72 * 16**2
    for name in names:
        lacking = table([other for other in names if other != name], calls=1.0)
        with pytest.raises(ConfigError, match=f"has no times for '{name}'"):
            lacking.cover([small()], 3)


def test_a_family_of_unknown_largest_holds_for_any_size() -> None:
    names = families(small())
    table(names, calls=1.0).cover([small(width=64)], 91)
    bounded = document({name: {"ms": {}, "largest": 1} for name in names})
    with pytest.raises(ConfigError, match="values at most"):
        LatencyTable.model_validate(bounded).cover([small(width=64)], 91)


def test_what_only_training_has_takes_no_time() -> None:
    genome = small()
    tree = genome.model_dump(mode="json")
    tree["head"] |= {"negatives": 5.0, "match_iou": 0.6, "postprocess": {"candidates": 10}}
    times = table(families(genome), calls=1.0, macs=1e-6, values=1e-5)
    assert latency_ms(Genome.model_validate(tree), times) == latency_ms(genome, times)


# --- files ------------------------------------------------------------------------------------


def test_the_page_s_table_is_whole_for_spinenet(tmp_path: Path) -> None:
    [text] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    path = tmp_path / "hand.json"
    path.write_text(text)
    times = read_table(path)
    assert type(times) is LatencyTable and times.conditions == (
        "an accelerator (its simulator 3.1, threads: 1, int8)"
    )
    times.cover([zoo.genome("spinenet-49"), *sampled(20)], 91)
    # Some 85 thousand million multiply-adds at a nanosecond a thousand: 85 ms and more.
    assert 85 < latency_ms(zoo.genome("spinenet-49"), times) < 130
    path.write_text(times.model_dump_json())
    assert read_table(path) == times


def test_a_table_of_an_older_version_is_to_be_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(
        json.dumps({"version": 1, **CONDITIONS, "overhead_ms": 0, "unit_ms": {"sum 8@16": 1.0}})
    )
    with pytest.raises(ConfigError) as refused:
        read_table(path)
    assert str(refused.value) == (
        f"{path}: no latency table: it is of version 1, this toolkit reads 2; measure again with "
        "nas device measure"
    )


def changed(**changes: Any) -> str:
    return json.dumps(document(**changes))


BAD = {
    "no JSON": ('{"version": 1,', "Expecting property name"),
    "a list": ("[]", "document: "),
    "deep": ("[" * 100_000, "recursion"),
    "no text": (b"\xff\xfe\x00", "decode"),
    "another version": (changed(version=3), "version: Input should be 2 (met 3)"),
    "no version": ('{"device": "x"}', "version: Field required"),
    "no device": (changed(device=""), "device: "),
    "device that steers a terminal": (changed(device="\x1b[2J"), "device: "),
    "threads in words": (changed(threads="4"), "threads: "),
    "no threads": (changed(threads=0), "threads: "),
    "overhead below 0": (changed(overhead_ms=-1), "overhead_ms: "),
    "overhead without end": (changed(overhead_ms=float("inf")), "overhead_ms: "),
    "unknown field": (changed(treads=4), "treads: Extra inputs are not permitted"),
    "no families": (changed(weights={}), "families: "),
    "families as a list": (changed(weights=[1.0]), "families: "),
    "a family that is a number": (changed(weights={"a": 1.0}), "families.a: "),
    "a weight that is a truth": (changed(weights={"a": {"ms": {"macs": True}}}), "families.a.ms"),
    "time of many digits": (f'{{"overhead_ms": {"9" * 5000}}}', "digits"),
    "one family twice": ('{"families": {"a": 1, "b": 1, "b": 2}}', "'b' stands there twice"),
    "larger than 10 MB": (" " * 10_000_001, "larger than 10 MB"),
}


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_refused_in_one_line(text: str | bytes, named: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as refused:
        read_table(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: no latency table: ") and said.isprintable() and named in said
    assert len(said) < 600


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: no latency table"):
            read_table(path)


# --- limits -----------------------------------------------------------------------------------


class Widths(ChoiceSpace):
    """Small genomes of six widths."""

    name = "widths"

    def __init__(self) -> None:
        super().__init__({"width": [8, 16, 24, 32, 40, 48], "activation": ["relu", "swish"]})

    def decode(self, code: Any) -> Any:
        return small(**super().decode(code))

    def key(self, candidate: Any) -> str:
        return str(candidate.key)


def by_width() -> Callable[[Genome], dict[str, float]]:
    """Costs by a table in which only the stem's width takes time: a millisecond a channel."""
    space = Widths()
    names = {name for code in space.codes() for name in families(space.decode(code))}
    # A stem's output has as many channels of 16 × 16 values as it is wide.
    weights = {name: {"ms": {"calls": 1e-6}} for name in names}
    weights["conv k3 s2 of the picture"] = {"ms": {"out": 1 / 16**2}}
    times = LatencyTable.model_validate(document(weights, overhead_ms=0.0, channel_block=1))
    return lambda genome: dict(profile(genome, latency=times).costs())


def test_a_limit_that_forbids_all_trains_nothing() -> None:
    tried: list[Genome] = []

    def evaluate(candidate: Genome, seed: int) -> float:
        tried.append(candidate)
        return 1.0

    found = nas.search(
        Widths(), evaluate, "random", budget=5, limits={"latency_ms": 7}, costs=by_width()
    )
    assert found.best is None and not tried


def test_only_what_is_within_the_limit_is_trained(tmp_path: Path) -> None:
    tried: list[int] = []

    def evaluate(candidate: Any, seed: int) -> float:
        tried.append(candidate.blocks[0].op.width)
        return float(tried[-1])

    limits = {"latency_ms": 33}
    found = nas.search(
        Widths(), evaluate, "random", budget=8, run=tmp_path, limits=limits, costs=by_width()
    )
    assert sorted(tried) == [8, 8, 16, 16, 24, 24, 32, 32]
    assert found.best is not None and found.best.costs["latency_ms"] == pytest.approx(32, abs=1e-3)
    with Store.open_readonly(find(tmp_path)) as store:
        over = [row for row in store.records() if row.failure is not None]
    assert {row.failure.kind for row in over if row.failure} == {FailureKind.OVER_LIMIT}
    assert {round(row.costs["latency_ms"]) for row in over} <= {40, 48}


def test_a_limit_without_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'latency_ms'; known .* costs\.latency_table=FILE"):
        nas.search(
            Widths(),
            lambda candidate, seed: 1.0,
            "random",
            budget=5,
            limits={"latency_ms": 7},
            costs=lambda genome: profile(genome).costs(),
        )
