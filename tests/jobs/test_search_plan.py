"""What a dry run says of costs and limits."""

from __future__ import annotations

import pytest
from rich.console import Console

from nas.errors import ConfigError
from nas.jobs.search_plan import costs_table, limits_text, share_interval
from nas.objectives import ObjectiveSettings

COSTS = [{"params": 1e6 * n, "macs": 1e9 * (101 - n)} for n in range(1, 101)]


@pytest.mark.parametrize("hits", [0, 1, 7, 20, 39, 40])
def test_bounds_are_shares_that_the_draws_just_allow(hits: int) -> None:
    low, high = share_interval(hits, 40)
    assert 0 <= low <= hits / 40 <= high <= 1
    for bound in {low, high} - {0.0, 1.0}:
        # The normal test of a share p: |hits - n p| is 1.96 standard deviations √(n p (1 - p)).
        assert abs(hits - 40 * bound) == pytest.approx(
            1.96 * (40 * bound * (1 - bound)) ** 0.5, rel=1e-4
        )


def test_limits_leave_a_share_together_and_each() -> None:
    objective = ObjectiveSettings(limits={"params": 60e6, "macs": 70e9})
    together, params, macs = limits_text(COSTS, objective).splitlines()
    assert together.startswith("30 % (") and "95 %" in together  # 31 to 60 million parameters
    assert params.startswith("params at most 60 M alone: 60 % (")
    assert macs.startswith("macs at most 70 G alone: 70 % (")
    alone = ObjectiveSettings(limits={"params": 0.5e6})
    assert limits_text(COSTS, alone) == "0 % (0.0 to 3.7 %) of uniform draws, with 95 % certainty"
    assert "none" in limits_text(COSTS, ObjectiveSettings())
    with pytest.raises(ConfigError, match=r"'latency'; known costs are macs, params"):
        limits_text(COSTS, ObjectiveSettings(limits={"latency": 1}))


def test_percentiles_stand_beside_their_cost() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(costs_table(COSTS))
    line = next(line for line in capture.get().splitlines() if "params" in line)
    found = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert found == ["params", "5.95 M", "25.75 M", "50.5 M", "75.25 M", "95.05 M"]
