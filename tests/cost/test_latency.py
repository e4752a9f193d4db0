"""Latency by a table: worked by hand, counted in another way, and as a limit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cost import LatencyTable, latency_ms, profile, signatures
from nas.errors import ConfigError
from nas.genome import Genome
from nas.space import ChoiceSpace
from nas.study.failures import FailureKind
from nas.study.store import Store, find
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace
from tests.genome.relisting import relisted


def small(width: int = 8, activation: str = "relu") -> Genome:
    """A stem, a pool, three residual blocks of which the last adds three maps, and a dead end."""

    def block(name: str, level: int, reads: str, **op: Any) -> dict[str, Any]:
        return {"id": name, "level": level, "op": op, "inputs": [{"block": b} for b in reads]}

    stem = block("a", 1, "", type="conv", width=width, stride=2)
    return Genome.model_validate(
        {
            "input": {"size": 64},
            "blocks": [
                stem | {"inputs": [{"block": "image"}]},
                block("b", 2, "a", type="max_pool"),
                block("c", 2, "b", type="residual", width=width),
                block("d", 2, "c", type="residual", width=width, activation=activation),
                block("e", 3, "bcd", type="residual", width=16, stride=2),
                block("f", 3, "e", type="residual", width=16),
            ],
            "taps": [{"block": "e"}],
            "head": {"type": "retinanet", "width": 16, "depth": 1, "anchors": [{"type": "octave"}]},
        }
    )


SMALL = {
    "block conv padding=1 stride=2 width=8 3@64 > 8@32": 2.0,
    "block max_pool 8@32 > 8@16": 0.25,
    "block residual width=8 8@16 > 8@16": 1.5,  # two of them
    "sum 8@16": 0.125,  # two additions of three maps
    "block residual stride=2 width=16 8@16 > 16@8": 3.0,
    "head retinanet anchors=[9] classes=4 depth=1 width=16 16@8": 5.0,
}
SWISH = "block residual activation=swish width=8 8@16 > 8@16"


def table(unit_ms: dict[str, float], **changes: Any) -> LatencyTable:
    return LatencyTable.model_validate(document(unit_ms, **changes))


def document(unit_ms: Any = SMALL, **changes: Any) -> dict[str, Any]:
    conditions = {"device": "Pixel 4", "runtime": "made up", "threads": 1, "precision": "float32"}
    return {"version": 1, **conditions, "overhead_ms": 0.5, "unit_ms": unit_ms, **changes}


# --- the sum ----------------------------------------------------------------------------------


def test_a_small_genome_by_hand() -> None:
    known = table(SMALL)
    assert latency_ms(small(), known, num_classes=4) == 0.5 + 2 + 0.25 + 2 * 1.5 + 2 * 0.125 + 3 + 5
    assert set(signatures(small(), num_classes=4)) == set(SMALL)
    costs = profile(small(), num_classes=4, latency=known).costs()
    assert costs["latency_ms"] == 14.0 and "latency_ms" not in profile(small()).costs()


def test_one_unit_changed() -> None:
    changed = table(SMALL | {SWISH: 2.5})
    assert latency_ms(small(activation="swish"), changed, num_classes=4) == 14.0 - 1.5 + 2.5
    slower = table(SMALL | {"sum 8@16": 1.125})
    assert latency_ms(small(), slower, num_classes=4) == 14.0 + 2


def test_what_the_table_lacks_is_said_in_one_line() -> None:
    lacking = table({name: ms for name, ms in SMALL.items() if "conv" not in name})
    with pytest.raises(ConfigError) as refused:
        latency_ms(small(activation="swish"), lacking, num_classes=4)
    said = str(refused.value)
    assert "Pixel 4 has no time for 'block conv padding=1 stride=2 width=8 3@64 > 8@32'" in said
    assert "lacks 2 of the 7 entries" in said and "\n" not in said
    with pytest.raises(ConfigError, match=r"no time for 'head retinanet .* classes=91 "):
        latency_ms(small(), table(SMALL))


def sampled(count: int) -> list[Genome]:
    space, rng = SpineNetSpace(), random.Random(5)
    return [space.sample(rng) for _ in range(count)]


GENOMES = [*(zoo.genome(name) for name in zoo.names()), *sampled(8)]


@pytest.mark.parametrize("genome", GENOMES, ids=lambda genome: genome.name or "sampled")
def test_at_a_millisecond_each_units_are_counted(genome: Genome) -> None:
    graph = genome.graph()
    blocks = [name for name in graph if name != "image"]
    edges = [(child, told) for _, child, told in graph.edges(data=True)]
    resampled = sum(told["count"] for _, told in edges if told["resampling"] != "direct")
    added = sum(told["count"] for _, told in edges) - len(blocks)
    pooled = sum(tap.transform is not None for tap in genome.taps)
    necks = {"endpoints": len(genome.taps), "rfcr": 1, "none": 0}[genome.neck.type]
    count = len(blocks) + resampled + added + pooled + necks + 1
    ones = table(dict.fromkeys(signatures(genome), 1.0))
    assert latency_ms(genome, ones) == 0.5 + count


def test_a_network_listed_otherwise_takes_as_long() -> None:
    rng = random.Random(1)
    for genome in GENOMES:
        times = table({name: rng.uniform(0.01, 9) for name in signatures(genome)})
        assert latency_ms(relisted(genome, rng), times) == latency_ms(genome, times)


# --- files ------------------------------------------------------------------------------------


def test_a_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pixel.json"
    path.write_text(json.dumps(document(SMALL, overhead_ms=0, threads=4)))
    read = LatencyTable.read(path)
    assert (read.device, read.threads, read.overhead_ms, read.unit_ms) == ("Pixel 4", 4, 0.0, SMALL)
    path.write_text(read.model_dump_json())
    assert LatencyTable.read(path) == read


def changed(**changes: Any) -> str:
    return json.dumps(document(**changes))


BAD = {
    "no JSON": ('{"version": 1,', "Expecting property name"),
    "a list": ("[]", "document: "),
    "deep": ("[" * 100_000, "recursion"),
    "no text": (b"\xff\xfe\x00", "decode"),
    "another version": (changed(version=2), "version: Input should be 1 (met 2)"),
    "no version": ('{"device": "x"}', "version: Field required"),
    "no device": (changed(device=""), "device: "),
    "device that steers a terminal": (changed(device="\x1b[2J"), "device: "),
    "threads in words": (changed(threads="4"), "threads: "),
    "no threads": (changed(threads=0), "threads: "),
    "overhead below 0": (changed(overhead_ms=-1), "overhead_ms: "),
    "overhead without end": (changed(overhead_ms=float("inf")), "overhead_ms: "),
    "unknown field": (changed(treads=4), "treads: Extra inputs are not permitted"),
    "no units": (changed(unit_ms={}), "unit_ms: "),
    "units as a list": (changed(unit_ms=[1.0]), "unit_ms: "),
    "time of 0": (changed(unit_ms={"sum 8@16": 0}), "unit_ms.sum 8@16: "),
    "negative time": (changed(unit_ms={"sum 8@16": -2.5}), "(met -2.5)"),
    "time that is no number": (changed(unit_ms={"a": float("nan")}), "unit_ms.a: "),
    "time without end": (changed(unit_ms={"a": 0.125}).replace("0.125", "1e999"), "unit_ms.a: "),
    "time of days": (changed(unit_ms={"a": 1e8}), "unit_ms.a: "),
    "time in words": (changed(unit_ms={"a": "2"}), "unit_ms.a: "),
    "time that is a truth": (changed(unit_ms={"a": True}), "unit_ms.a: "),
    "time of many digits": (f'{{"unit_ms": {{"a": {"9" * 5000}}}}}', "digits"),
    "signature with a line end": (changed(unit_ms={"a\nb": 1.0}), r"a\nb"),
    "long signature": (changed(unit_ms={"a" * 2000: 1.0}), "at most 1000"),
    "many units": (changed(unit_ms={str(i): 1.0 for i in range(50_001)}), "at most 50000"),
    "one unit twice": ('{"unit_ms": {"a": 1.0, "b": 1.0, "b": 2.0}}', "'b' stands there twice"),
    "larger than 10 MB": (" " * 10_000_001, "larger than 10 MB"),
}


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_refused_in_one_line(text: str | bytes, named: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as refused:
        LatencyTable.read(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: no latency table: ") and said.isprintable() and named in said
    assert len(said) < 600


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: no latency table"):
            LatencyTable.read(path)


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
    names = {name for code in space.codes() for name in signatures(space.decode(code))}
    stems = {name: float(name.split("width=")[1].split()[0]) for name in names if "conv" in name}
    times = table(dict.fromkeys(names, 1e-6) | stems, overhead_ms=0.0)
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
