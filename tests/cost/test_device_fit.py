"""Pieces and the fit: a simulated device, whose times are known, is told from its pieces alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from nas.cost.latency.features import Machine, family, latency_features
from nas.cost.latency.fit import FittedWeights, TimedSample, fit_weights
from nas.cost.latency.sampling import ENOUGH, NetworkSample, design
from nas.genome import Genome
from nas.genome.operators import Operator
from nas.genome.plan import lower
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from search_spaces.spinenet.space import SpineNetSpace
from tests.cost.test_operators import mobile

SPACE = SpineNetSpace(intermediates=3, deploy={"input_size": 256})
RNG = random.Random(1)
DRAWN = [SPACE.sample(RNG) for _ in range(60)]
WHOLE = [SPACE.sample(RNG) for _ in range(6)]


@pytest.fixture(scope="module")
def pieces() -> list[NetworkSample]:
    return design(DRAWN, WHOLE, 150, seed=3, num_classes=5)


# --- the design -------------------------------------------------------------------------------


def test_pieces_are_distinct_units_and_whole_networks(pieces: list[NetworkSample]) -> None:
    assert [piece.whole for piece in pieces] == [False] * 150 + [True] * 6
    assert len({piece.name for piece in pieces}) == 156
    again = design(DRAWN, WHOLE, 150, seed=3, num_classes=5)
    assert [piece.operators for piece in again] == [piece.operators for piece in pieces]
    for piece, genome in zip(pieces[-6:], WHOLE, strict=True):
        tape = Tape()
        record_plan(tape, lower(genome), 5)
        assert piece.operators == Counter(tape.operators)


def test_every_family_is_in_some_pieces(pieces: list[NetworkSample]) -> None:
    def families(found: list[NetworkSample]) -> Counter[str]:
        return Counter(name for piece in found for name in {family(o) for o in piece.operators})

    held, whole = families(pieces[:150]), families(pieces[150:])
    only_of_networks = {"normalize"}
    assert whole.keys() - held.keys() <= only_of_networks
    met = families(design(DRAWN, [], 10_000, seed=3, num_classes=5))
    assert all(held[name] >= min(ENOUGH, met[name]) for name in whole.keys() - only_of_networks)


def test_a_piece_is_a_unit_and_perhaps_its_reader(pieces: list[NetworkSample]) -> None:
    for piece in pieces[:150]:
        kinds = Counter(operator.kind for operator in piece.tape.operators)
        assert kinds["input"] >= 1 and kinds["output"] in (1, 2) and not kinds["normalize"]
    lonely = design([mobile()], [mobile()], 100, num_classes=5)
    assert lonely[-1].whole and 10 < len(lonely) < 30  # as many as it has distinct units


# --- the fit ----------------------------------------------------------------------------------

TRUE_MACHINE = Machine(channel_block=8, near_bytes=2**20)


def true_ms(operators: Counter[Operator]) -> float:
    """A device whose convolutions reach 50 GMAC/s, and whose far values take 1 ns more."""
    total = 0.01
    for operator, count in operators.items():
        told = latency_features(operator, TRUE_MACHINE)
        values = told.get("out", told.get("values", 0)) + told.get("in", 0)
        far = told.get("far", 0) + told.get("far_out", 0) + told.get("far_in", 0)
        ms = 0.002 + 2e-8 * told.get("macs", 0) + 3e-7 * values + 1e-6 * far
        total += count * ms
    return total


def timed(pieces: list[NetworkSample], noise: float, outliers: float = 0.0) -> list[TimedSample]:
    rng = random.Random(7)
    return [
        TimedSample(
            piece.operators,
            true_ms(piece.operators)
            * rng.lognormvariate(0, noise)
            * (3.0 if rng.random() < outliers else 1.0),
            piece.whole,
        )
        for piece in pieces
    ]


def errors(genomes: list[Genome], found: FittedWeights) -> list[float]:
    """Sorted absolute relative errors of what a fit tells."""
    off = []
    for genome in genomes:
        tape = Tape()
        record_plan(tape, lower(genome), 5)
        told = sum(
            found.ms[family(operator)].get(term, 0.0) * value
            for operator in tape.operators
            for term, value in latency_features(operator, found.machine).items()
        )
        off.append(abs(told / true_ms(Counter(tape.operators)) - 1))
    return sorted(off)


def test_a_device_is_told_from_its_pieces(pieces: list[NetworkSample]) -> None:
    fresh = [SPACE.sample(random.Random(seed)) for seed in range(100, 120)]
    exact = fit_weights(timed(pieces, noise=0.0))
    assert exact.network_error is not None and exact.network_error < 0.01
    assert errors(fresh, exact)[-1] < 0.02
    noisy = fit_weights(timed(pieces, noise=0.05, outliers=0.05))
    assert errors(fresh, noisy)[10] < 0.03
    assert all(weight > 0 for weights in noisy.ms.values() for weight in weights.values())
    assert noisy.sample_error is not None and 0.01 < noisy.sample_error < 0.1


def test_without_networks_there_is_no_error_of_networks(pieces: list[NetworkSample]) -> None:
    found = fit_weights(timed(pieces[:60], noise=0.02))
    assert found.network_error is None and found.sample_error is not None
