"""A measured table: its formula worked by hand, what it refuses, files that somebody sent."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from nas.cost import DeviceTable, latency_ms, profile, read_table
from nas.cost.latency.features import Machine, family, latency_features
from nas.errors import ConfigError
from nas.genome import Genome
from nas.genome.operators import Operator
from nas.genome.plan import lower
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from tests.genome.relisting import relisted
from tests.models.tiny import sampled


def small(width: int = 8, activation: str = "relu", size: int = 32) -> Genome:
    """One convolution of stride 2, and SSD's head on it: four boxes a place."""
    op = {"type": "conv", "width": width, "stride": 2, "activation": activation}
    anchors = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4, "ratios": [2.0]}
    return Genome.model_validate(
        {
            "input": {"size": size},
            "blocks": [{"id": "a", "level": 1, "op": op, "inputs": [{"block": "image"}]}],
            "taps": [{"block": "a"}],
            "head": {"type": "ssd", "anchors": [anchors]},
        }
    )


FAMILIES: dict[str, dict[str, Any]] = {
    "conv k3 s1": {"ms": {"calls": 0.5, "macs": 1e-6, "weights": 1e-4}, "largest": 500_000},
    "conv k3 s2 of the picture": {"ms": {"macs": 2e-6, "far_in": 1e-3}, "largest": 60_000},
    "flatten": {"ms": {"values": 1e-5}, "largest": 5000},
    "input": {"ms": {}, "largest": 4000},
    "join": {"ms": {"values": 1e-5, "far": 1e-4}, "largest": 5000},
    "normalize": {"ms": {"calls": 0.25}, "largest": 4000},
    "output": {"ms": {"calls": 0.0625}, "largest": 5000},
    "relu": {"ms": {"values": 1e-5}, "largest": 3000},
}


def document(**changes: Any) -> dict[str, Any]:
    one = {"name": "a", "whole": False, "operators": {"relu 8@16 > 8@16": 1}, "ms": 1.0}
    return {
        "version": 2,
        **{"device": "Pixel 4", "runtime": "onnxruntime 1.31", "threads": 1},
        **{"precision": "float32", "overhead_ms": 1.0},
        "protocol": {"rounds": 5, "warm_up": 2, "disturbed": 0.0, "load_before": None},
        "accuracy": {"pieces": 1, "networks": 0, "piece_error": 0.02, "network_error": None},
        **{"channel_block": 4, "near_bytes": 4 * 3000},
        "families": FAMILIES,
        "measured": [one | {"p95_ms": 1.5}],
        **changes,
    }


def table(**changes: Any) -> DeviceTable:
    return DeviceTable.model_validate(document(**changes))


# --- the formula ------------------------------------------------------------------------------


def test_a_network_by_hand() -> None:
    # The picture: 3 · 32² = 3072 values, 72 beyond the 3000 at hand. 8 filters of 27 weights on
    # 16² places: 55296 multiply-adds, 2048 values.
    body = 0.25 + 2e-6 * 55296 + 1e-3 * 72 + 1e-5 * 2048
    # The head: 4 · 3 = 12 and 4 · 4 = 16 filters of 72 weights; 3072 and 4096 values.
    classes = 0.5 + 1e-6 * 12 * 72 * 256 + 1e-4 * 12 * 72 + 2e-5 * 3072 + 1e-4 * 72 + 0.0625
    boxes = 0.5 + 1e-6 * 16 * 72 * 256 + 1e-4 * 16 * 72 + 2e-5 * 4096 + 1e-4 * 1096 + 0.0625
    told = latency_ms(small(), table(), num_classes=3)
    assert told == pytest.approx(1.0 + body + classes + boxes, rel=1e-12)
    assert profile(small(), num_classes=3, latency=table()).costs()["latency_ms"] == told


@pytest.mark.parametrize(
    ("text", "block", "expected"),
    [
        # 10 and 30 channels are computed as 16 and 32.
        (
            "conv k1 s1 10@4 > 30@4",
            16,
            {"macs": 8192, "out": 512, "in": 256, "weights": 512, "far_out": 256, "far_in": 0},
        ),
        (
            "conv k3 s2 3@4 > 8@2",
            16,
            {"macs": 1728, "out": 64, "in": 48, "weights": 432, "far_out": 0, "far_in": 0},
        ),
        (
            "depthwise k5 s2 20@8 > 20@4",
            1,
            {"macs": 8000, "in": 1280, "far_out": 64, "far_in": 1024},
        ),
        ("mean 20@8 > 20@1", 1, {"values": 1280, "far": 1024}),
        ("nearest 20@4 > 20@8", 1, {"values": 1280, "far": 1024}),
    ],
)
def test_terms_by_hand(text: str, block: int, expected: dict[str, int]) -> None:
    found = latency_features(Operator.parse(text), Machine(channel_block=block, near_bytes=1024))
    assert found == {"calls": 1} | expected


def test_convolutions_of_the_picture_are_a_family() -> None:
    kinds = [family(Operator.parse(f"conv k3 s2 {n}@32 > 8@16")) for n in (3, 4)]
    assert kinds == ["conv k3 s2 of the picture", "conv k3 s2"]


def test_a_network_listed_otherwise_takes_as_long() -> None:
    rng = random.Random(2)
    for seed in range(4):
        genome, tape = sampled(seed), Tape()
        record_plan(tape, lower(genome), 91)
        ms = {"calls": rng.random(), "values": rng.random(), "macs": rng.random()}
        families = {family(one): {"ms": ms, "largest": 1} for one in tape.operators}
        known = table(families=families)
        assert latency_ms(relisted(genome, rng), known) == latency_ms(genome, known)


# --- what it lacks ----------------------------------------------------------------------------


def test_an_operator_without_times_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        latency_ms(small(activation="hard_swish"), table(), num_classes=3)
    said = str(refused.value)
    assert "Pixel 4 has no times for 'hard_swish', such as 'hard_swish 8@16 > 8@16'" in said
    assert "\n" not in said
    with pytest.raises(ConfigError, match="no times for 'hard_swish"):
        table().cover([small(), small(activation="hard_swish")], 3)


def test_operators_far_larger_than_all_that_were_timed_are_refused_beforehand() -> None:
    table().cover([small()], 3)
    with pytest.raises(ConfigError, match=r"of 60,000 multiply-adds at most, and .* has 442,368;"):
        table().cover([small(width=64)], 3)
    with pytest.raises(ConfigError, match=r"'input' of 4,000 values at most"):
        table().cover([small(size=128)], 3)


# --- files ------------------------------------------------------------------------------------


def test_a_table_is_read_and_tells_the_same(tmp_path: Path) -> None:
    path = tmp_path / "pixel.json"
    path.write_text(table().model_dump_json(indent=1))
    read = read_table(path)
    assert read == table() and latency_ms(small(), read, 3) == latency_ms(small(), table(), 3)
    assert read.conditions == "Pixel 4 (onnxruntime 1.31, threads: 1, float32)"


def changed(**changes: Any) -> str:
    return json.dumps(document(**changes))


def measured(**changes: Any) -> str:
    return changed(measured=[document()["measured"][0] | changes])


BAD = {
    "another version": (changed(version=3), "version: Input should be 2 (met 3)"),
    "no families": (changed(families={}), "families: "),
    "negative weight": (changed(families={"a": {"ms": {"macs": -1.0}, "largest": 1}}), "-1.0"),
    "weight that is no number": (
        changed(families={"a": {"ms": {"macs": float("nan")}, "largest": 1}}),
        "families.a.ms.macs: ",
    ),
    "weight of no term": (changed(families={"a": {"ms": {"mac": 1.0}, "largest": 1}}), "ms.mac"),
    "weight in words": (changed(families={"a": {"ms": {"macs": "1"}, "largest": 1}}), "ms.macs: "),
    "family that steers a terminal": (
        changed(families={"\x1b[2J": {"ms": {}, "largest": 1}}),
        "families.",
    ),
    "many families": (
        changed(families={str(i): {"ms": {}, "largest": 1} for i in range(201)}),
        "at most 200",
    ),
    "block of 0": (changed(channel_block=0), "channel_block: "),
    "nothing measured": (changed(measured=[]), "measured: "),
    "time of 0": (measured(ms=0), "measured.0.ms: "),
    "time without end": (measured(ms=float("inf")), "measured.0.ms: "),
    "no operator": (measured(operators={"rm -rf 8@8": 1}), "is no operator"),
    "no operators": (measured(operators={}), "operators: "),
    "operators without end": (measured(operators={"relu 8@8 > 8@8": 10**9}), "10000"),
    "a name that is a path": (measured(name="../a"), "measured.0.name: "),
    "unknown field": (changed(treads=1), "treads: Extra inputs are not permitted"),
    "share above 1": (
        changed(protocol=document()["protocol"] | {"disturbed": 2}),
        "protocol.disturbed: ",
    ),
}


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_refused_in_one_line(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_table(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: no latency table: ") and said.isprintable() and named in said
    assert len(said) < 600
