"""The average of weights: its horizon, its ramp, and what it comes to, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.training.ema import averaged, horizon_decay, ramp
from nas.training.recipes import resolve


@pytest.mark.parametrize(
    ("steps", "decay"),
    [(250, 1 - 1 / 12.5), (1520, 1 - 1 / 76), (100_000, 0.9998), (10, 0.0), (0, 0.0)],
)
def test_horizon_is_a_share_of_the_steps(steps: int, decay: float) -> None:
    assert horizon_decay(0.05, steps) == pytest.approx(decay)


def test_ramp() -> None:
    assert [ramp(0.9, updates) for updates in (0, 1, 8, 80, 1000)] == pytest.approx(
        [0.1, 2 / 11, 0.5, 0.9, 0.9]
    )


def test_average_of_a_weight() -> None:
    """The first update copies; then each has its decay, which never passes the limit."""
    model = nn.Linear(1, 1, bias=False)
    average = averaged(model, resolve("short", {"ema_share": 0.5}), steps=10)
    assert average is not None
    expected = 0.0
    for updates, value in enumerate((4.0, 1.0, -2.0, 3.0, 0.5, 7.0, 1.0)):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update_parameters(model)
        # 1 - 1 / (0.5 · 10) = 0.8 is reached by (1 + t) / (10 + t) at t = 35 only.
        decay = 0.0 if updates == 0 else (1 + updates) / (10 + updates)
        expected = decay * expected + (1 - decay) * value
        assert float(average.module.state_dict()["weight"]) == pytest.approx(expected)


def test_the_start_is_forgotten_within_few_steps() -> None:
    """What a fixed 0.9998 leaves of the start after 250 updates is 95 %."""
    shares = []
    for changes in ({"ema": 0.9998}, {"ema_share": 0.05}):
        model = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            model.weight.fill_(1.0)
        average = averaged(model, resolve("short", changes), steps=250)
        assert average is not None
        average.update_parameters(model)
        with torch.no_grad():
            model.weight.fill_(0.0)
        for _ in range(249):
            average.update_parameters(model)
        shares.append(float(average.module.state_dict()["weight"]))
    assert shares[0] == pytest.approx(0.95, abs=0.01)
    assert shares[1] < 1e-6


def test_no_average_unless_the_recipe_wants_one() -> None:
    assert averaged(nn.Linear(1, 1), resolve("short"), 100) is None
    assert not resolve("short").has_average
    assert all(resolve("short", one).has_average for one in ({"ema": 0.9}, {"ema_share": 0.1}))
