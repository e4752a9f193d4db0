"""A run and the table that it began with: the same device, version and times, or a refusal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from nas.cost import DeviceTable, LatencyTable
from nas.errors import ConfigError, RunError
from nas.planning.costs import GenomeCosts
from nas.runs.folder import Run
from nas.space import ChoiceSpace
from tests.cost.test_device_table import FAMILIES, document, small


class Widths(ChoiceSpace):
    """Small genomes of four widths and two activations."""

    def __init__(self, activations: tuple[str, ...] = ("relu",)) -> None:
        super().__init__({"width": [8, 16, 24, 32], "activation": list(activations)})

    def decode(self, code: Any) -> Any:
        return small(**super().decode(code))


def measured(**changes: Any) -> DeviceTable:
    return DeviceTable.model_validate(document(**changes))


def by_hand(**changes: Any) -> LatencyTable:
    only_measured = ("protocol", "accuracy", "measured")
    tree = {name: value for name, value in document().items() if name not in only_measured}
    return LatencyTable.model_validate(tree | changes)


def heavier(**ms: float) -> dict[str, Any]:
    return FAMILIES | {"relu": {"ms": ms, "largest": 3000}}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (measured(), measured(device="Pixel 9"), 'device .* was "Pixel 4" .* is now "Pixel 9"'),
        (measured(), measured(runtime="tflite 2"), 'runtime .* is now "tflite 2"'),
        (measured(), measured(threads=4), "threads of the latency table was 1 .* is now 4"),
        (measured(), measured(precision="int8"), 'precision .* is now "int8"'),
        (measured(), by_hand(), "accuracy of the latency table was .* is now"),
        (by_hand(), measured(), "accuracy of the latency table was .* is now"),
        (by_hand(), by_hand(device="Pixel 9"), 'device .* is now "Pixel 9"'),
        (measured(), measured(overhead_ms=2.0), "overhead_ms of the latency table was 1.0"),
        (
            measured(),
            measured(families=heavier(values=2e-5)),
            r"families\.relu\.ms\.values of the latency table was 1e-05 .* is now 2e-05",
        ),
    ],
)
def test_a_run_goes_on_with_its_own_table_only(
    before: LatencyTable, now: LatencyTable, said: str, tmp_path: Path
) -> None:
    run = Run.make(tmp_path / "r")
    GenomeCosts(5, before).keep(run)
    GenomeCosts(5, before).keep(run)
    kept = (run.path / "latency_table.json").read_text()
    with pytest.raises(RunError, match=said) as refused:
        GenomeCosts(5, now).keep(run)
    assert "\n" not in str(refused.value) and "restore it, or start a new run" in str(refused.value)
    assert (run.path / "latency_table.json").read_text() == kept


def test_a_table_that_lacks_a_space_s_operators_is_refused() -> None:
    GenomeCosts(3, measured()).check(Widths(), seed=0)
    with pytest.raises(ConfigError, match="has no times for 'hard_swish'"):
        GenomeCosts(3, measured()).check(Widths(("relu", "hard_swish")), seed=0)


def test_costs_have_the_table_s_time() -> None:
    genome = Widths().sample(random.Random(0))
    costs = GenomeCosts(3, measured())(genome)
    assert costs["latency_ms"] == measured().time_ms(genome, 3)
    assert "latency_ms" not in GenomeCosts(3)(genome)
