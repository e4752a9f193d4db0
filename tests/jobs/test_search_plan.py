"""What a dry run says of costs and limits, and a search of its time."""

from __future__ import annotations

from datetime import datetime

import pytest
from rich.console import Console

from nas.config.schema import SearchConfig
from nas.errors import ConfigError
from nas.planning.search_plan import (
    budget_text,
    costs_table,
    limits_text,
    plan_of,
    share_interval,
    stopping_text,
)
from nas.study.budget import Forecast
from nas.study.objective import ObjectiveSettings
from nas.study.stopping import StoppingSettings
from nas.ui.search_progress import forecast_text

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


def test_early_stopping_in_words() -> None:
    assert stopping_text(None) == "none"
    assert stopping_text(StoppingSettings()) == "after epochs 1, 3; one in 3 goes on"
    assert stopping_text(StoppingSettings(rungs=(2,), eta=4)) == "after epoch 2; one in 4 goes on"


def test_percentiles_stand_beside_their_cost() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(costs_table(COSTS))
    line = next(line for line in capture.get().splitlines() if "params" in line)
    found = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert found == ["params", "5.95 M", "25.75 M", "50.5 M", "75.25 M", "95.05 M"]


def test_a_budget_in_hours_keeps_two_fifths_for_retraining() -> None:
    config = SearchConfig(budget="8h")
    assert plan_of(config).end == pytest.approx(4.8 * 3600) and plan_of(config).reevaluations == 18
    assert budget_text(config) == "8h, of which 3 h 12 min stay for retraining"
    assert budget_text(SearchConfig(budget="8h", retrain_share=0.0)) == "8h"
    assert budget_text(SearchConfig(budget=40)) == "40 trials"
    inline = SearchConfig.model_validate({"compute": {"executor": "inline", "workers": 8}})
    assert plan_of(inline).workers == 1


def test_a_forecast_is_said_by_the_clock_on_the_wall() -> None:
    now = datetime(2026, 1, 1, 16, 45)
    said = forecast_text(Forecast(118, reevaluation=1440.0, left=3600.0, retrain=11_520.0), now)
    assert said == (
        "118 trials, then a re-evaluation of 24 min, over at 17:45; 3 h 12 min stay for retraining"
    )
    long = forecast_text(Forecast(40, reevaluation=0.0, left=8 * 3600.0, retrain=0.0), now)
    assert long == "40 trials, over at 02 Jan, 00:45"
