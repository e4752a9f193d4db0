"""Signatures: equal for equal work, different where time differs."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nas.cost import profile, signatures, unit_cost
from nas.cost.latency.signature import signature
from nas.genome import Genome
from nas.genome.plan import lower
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace
from tests.genome.counting import published


def test_units_of_one_signature_cost_the_same() -> None:
    space, rng = SpineNetSpace(), random.Random(5)
    genomes = [*map(zoo.genome, zoo.names()), *(space.sample(rng) for _ in range(8))]
    costs: dict[str, Any] = {}
    for genome in genomes:
        for unit in lower(genome):
            name = signature(unit)
            assert costs.setdefault(name, unit_cost(unit, 91)) == unit_cost(unit, 91), name
    for genome in genomes:
        counted = profile(genome)
        named = [(costs[n], k) for n, k in signatures(genome).items() if not n.startswith("sum")]
        assert sum(cost.params * k for cost, k in named) == counted.params
        assert sum(cost.macs * k for cost, k in named) == counted.macs


def test_what_only_training_has_takes_no_time() -> None:
    teacher = signatures(published("mimicdet-spinenet-49"))
    plain = signatures(zoo.genome("spinenet-49"))
    heads = [name for name in teacher if name.startswith("head")]
    assert len(heads) == 1 and "teacher" not in heads[0] and "@160" not in heads[0]
    del teacher[heads[0]]
    assert teacher == {name: k for name, k in plain.items() if not name.startswith("head")}


@pytest.mark.parametrize(
    "name", ["bidet-ssd300", "mobilenetv2-0.75-rfcr", "ssdlite320-mobilenetv3-large"]
)
def test_other_detectors_have_signatures(name: str) -> None:
    genome = published(name)
    units = [unit for unit in lower(genome) if not unit.training_only]
    additions = sum(len(unit.inputs) - 1 for unit in units if unit.kind == "block")
    assert signatures(genome, num_classes=21).total() == len(units) + additions


@pytest.mark.parametrize(
    ("part", "change", "is_timed"),
    [
        ("head", {"focal_gamma": 2.0, "match_iou": 0.6, "huber_delta": 0.2}, False),
        ("head", {"postprocess": {"candidates": 10}}, False),
        ("head", {"anchors": 5 * [{"type": "octave", "size": 2.0}]}, False),
        ("head", {"anchors": 5 * [{"type": "octave", "ratios": [1.0]}]}, True),
        ("head", {"width": 128}, True),
        ("head", {"depth": 2}, True),
        ("head", {"activation": "swish"}, True),
        ("input", {"mean": [0.5, 0.5, 0.5]}, False),
        ("input", {"size": 896}, True),
        ("norm", {"eps": 1e-5}, False),
        ("scale", {"width": 2.0}, True),
    ],
)
def test_signatures_say_what_takes_time(part: str, change: dict[str, Any], is_timed: bool) -> None:
    known = zoo.genome("spinenet-49")
    tree = known.model_dump(mode="json")
    tree[part] |= change
    assert (signatures(Genome.model_validate(tree)) != signatures(known)) == is_timed
