from __future__ import annotations

import pytest
import torch

from nas.training.recipes import resolve
from nas.training.schedule import learning_rate

COCO_STEPS = 463  # ceil(118,287 images / 256)


@pytest.mark.parametrize(
    ("name", "total", "first_decay", "second_decay", "peak"),
    [  # tensorflow/tpu, configs/spinenet/*.yaml; protocol A's are inferred from its 250 epochs
        ("spinenet_a", 115_750, 101_860, 111_120, 0.28),
        ("spinenet_b", 162_050, 148_160, 157_420, 0.28),
        ("spinenet_c", 231_500, 217_610, 226_870, 0.28),
        ("spinenet_c_190", 185_200, 171_310, 180_570, 0.30),
    ],
)
def test_published_protocols_step_by_step(
    name: str, total: int, first_decay: int, second_decay: int, peak: float
) -> None:
    recipe = resolve(name)
    assert recipe.epochs * COCO_STEPS == total
    expected = {
        0: 0.0067,
        1000: (0.0067 + peak) / 2,
        2000: peak,
        first_decay - 1: peak,
        first_decay: peak * 0.1,
        second_decay - 1: peak * 0.1,
        second_decay: peak * 0.01,
        total - 1: peak * 0.01,
    }
    rates = {step: learning_rate(recipe, step, COCO_STEPS) for step in expected}
    assert rates == pytest.approx(expected, rel=1e-12)


def test_published_regularisers() -> None:
    a, b, c = (resolve(f"spinenet_{letter}") for letter in "abc")
    assert [r.jitter for r in (a, b, c)] == [(0.8, 1.2), (0.5, 2.0), (0.5, 2.0)]
    assert [r.drop_path for r in (a, b, c)] == [0, 0, 0.2]
    assert [r.activation for r in (a, b, c)] == ["relu", "relu", "swish"]
    assert resolve("spinenet_c_143").drop_path == 0.16
    for r in (a, b, c):
        assert (r.batch_size, r.weight_decay, r.clip_norm, r.momentum) == (256, 4e-5, 10.0, 0.9)


def test_the_published_rate_scales_with_the_batch() -> None:
    recipe = resolve("spinenet_b", {"batch_size": 64})
    assert learning_rate(recipe, 50_000, 4 * COCO_STEPS) == pytest.approx(0.07)
    assert learning_rate(recipe, 0, 4 * COCO_STEPS) == pytest.approx(0.0067 / 4)


@pytest.mark.parametrize(("epochs", "steps"), [(12, 25), (1, 7), (3, 1), (2, 2)])
def test_onecycle_equals_torch(epochs: int, steps: int) -> None:
    recipe = resolve("short", {"epochs": epochs, "end_factor": 4e-6, "warmup_share": 0.35})
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=epochs * steps, pct_start=0.35, div_factor=25
    )
    theirs = []
    for _ in range(epochs * steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = [learning_rate(recipe, step, steps) for step in range(epochs * steps)]
    if recipe.warmup_share * len(ours) > 1:  # torch's own rule starts past its peak otherwise
        assert ours == pytest.approx(theirs, abs=1e-9)
    assert all(0 < rate <= 3e-3 for rate in ours)


def test_cosine_ends_where_it_should() -> None:
    recipe = resolve(
        "short", {"epochs": 2, "schedule": "cosine", "warmup_steps": 2, "end_factor": 0.1}
    )
    rates = [learning_rate(recipe, step, 6) / 3e-3 for step in range(12)]
    assert rates[:3] == pytest.approx([0, 0.5, 1])
    assert rates[-1] == pytest.approx(0.1)
    assert rates[2:] == sorted(rates[2:], reverse=True)
