from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.errors import ConfigError
from nas.training.checkpoint import Checkpoints
from nas.training.loop import train
from nas.training.optimizer import weight_groups
from nas.training.recipes import resolve
from nas.training.schedule import learning_rate
from nas.training.settings import RecipeSettings
from nas.training.step import NotFinite
from tests.training.tiny import TinyBatches, TinyDetector


def recipe(**changes: Any) -> RecipeSettings:
    return resolve("short", {"epochs": 4, "batch_size": 4, "threads": 1, **changes})


def fresh(**options: Any) -> TinyDetector:
    torch.manual_seed(5)
    return TinyDetector(**options)


def run(model: nn.Module, settings: RecipeSettings, **options: Any) -> list[float]:
    return [epoch.loss for epoch in train(model, TinyBatches(), settings, seed=3, **options)]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_bits(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_learns_and_finds_the_squares() -> None:
    model, batches = fresh(dropout=0.0), TinyBatches(images=32)
    settings = recipe(epochs=40, lr=1e-2)
    losses = [epoch.loss for epoch in train(model, batches, settings, seed=0)]
    assert losses[-1] < losses[0] / 3
    best = [
        found["labels"][found["scores"].argmax()] for found in model.eval().detect(batches.pixels)
    ]
    assert (torch.stack(best) == batches.labels[:, 0]).float().mean() > 0.9


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    one, two, other = fresh(), fresh(), fresh()
    assert run(one, recipe()) == run(two, recipe())
    assert_same_bits(state_of(one), state_of(two))
    list(train(other, TinyBatches(), recipe(), seed=4))
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "lr": 0.05, "clip_norm": 1.0},
        {"ema": 0.9, "bn_batches": 2, "channels_last": False},
        {"ema_share": 0.3},
        {"precision": "bf16"},
    ],
    ids=["adamw", "sgd", "ema", "ramp", "bf16"],
)
def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = recipe(**changes)
    unbroken = fresh()
    losses = run(unbroken, settings)

    kept = Checkpoints(tmp_path, {"seed": 3})
    first = train(fresh(), TinyBatches(), settings, seed=3, checkpoints=kept)
    before = [next(first).loss, next(first).loss]
    torch.rand(7)  # what a process does in between must not matter
    resumed = TinyDetector()
    after = run(resumed, settings, checkpoints=kept)

    assert before + after == losses
    assert_same_bits(state_of(resumed), state_of(unbroken))


def test_resuming_a_finished_run_gives_its_model(tmp_path: Path) -> None:
    settings, kept = recipe(ema=0.9), Checkpoints(tmp_path, {})
    model, again = fresh(), TinyDetector()
    assert len(run(model, settings, checkpoints=kept)) == 4
    assert run(again, settings, checkpoints=kept) == []
    assert_same_bits(state_of(again), state_of(model))


class WithPositives(TinyDetector):
    """A detector that can be told a divisor; by default with the first weights of `fresh`."""

    def __init__(self, seed: int = 5) -> None:
        torch.manual_seed(seed)
        super().__init__()

    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        return int((labels > 0).sum())

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]:
        losses, own = super().losses(images, boxes, labels), self.positives(boxes, labels)
        return {name: loss * own / (positives or own) for name, loss in losses.items()}


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "micro_batch": 3}, {"precision": "fp16"}])
@pytest.mark.parametrize("steps", [1, 6])
def test_an_epoch_goes_on_in_its_middle(
    tmp_path: Path, changes: dict[str, Any], steps: int
) -> None:
    """Stopped in epochs of four updates, each of which writes a checkpoint."""
    settings = recipe(
        **{"schedule": "cosine", "epochs": 3, "optimizer": "sgd", "lr": 0.05},
        **{"checkpoint_minutes": 1e-9, **changes},
    )
    unbroken, resumed = WithPositives(), WithPositives(seed=6)
    reports = list(train(unbroken, TinyBatches(), settings, seed=3))

    class Stop(Exception):
        pass

    def stop(step: int, lr: float, loss: float) -> None:
        if step == steps:
            raise Stop

    kept = Checkpoints(tmp_path, {})
    with pytest.raises(Stop):
        run(WithPositives(), settings, checkpoints=kept, on_step=stop)
    torch.rand(7)
    after = list(train(resumed, TinyBatches(), settings, seed=3, checkpoints=kept))
    assert len(after) == 3 - steps // 4
    assert [epoch.losses for epoch in after] == [e.losses for e in reports[-len(after) :]]
    assert [epoch.images for epoch in after] == [16] * len(after)
    assert_same_bits(state_of(resumed), state_of(unbroken))


def test_what_led_to_a_loss_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    """The second micro-batch of the second update."""
    batches, folder = TinyBatches(), tmp_path / "not_finite"
    second = list(batches.epoch(0))[1]

    class Broken(WithPositives):
        def losses(self, images: Tensor, *others: Any, **options: Any) -> dict[str, Tensor]:
            losses = super().losses(images, *others, **options)
            met = any(torch.equal(image, second.images[3]) for image in images)
            return {**losses, "box_regression": losses["box_regression"] / (0 if met else 1)}

    with pytest.raises(NotFinite, match=f"step 1 .*images that led to it lie in {folder}"):
        run(Broken(), recipe(micro_batch=2, epochs=1), incidents=folder)
    kept = load_file(folder / "step-1-worker-0.safetensors")
    for name in ("images", "boxes", "labels"):
        assert torch.equal(kept[name], getattr(second, name)[2:])
    facts = json.loads((folder / "step-1-worker-0.json").read_text())
    assert facts.items() >= {"step": 1, "epoch": 0, "seed": 3, "precision": "fp32"}.items()
    assert facts["losses"]["box_regression"] == "inf" and facts["losses"]["classification"] > 0
    assert facts["lr"] == pytest.approx(learning_rate(recipe(epochs=1), 1, 4))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_once(bad: float) -> None:
    class Broken(TinyDetector):
        def losses(
            self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
        ) -> dict[str, Tensor]:
            losses = super().losses(images, boxes, labels)
            return {**losses, "box_regression": losses["box_regression"] * bad}

    with pytest.raises(NotFinite, match=r"step 0 .*box_regression (nan|inf).*recipe\.lr"):
        run(Broken(), recipe())


def test_too_large_a_rate_is_not_finite() -> None:
    with pytest.raises(NotFinite):
        run(fresh(), recipe(optimizer="sgd", lr=1e20, momentum=0.0))


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_steps 16 is as long"):
        run(fresh(), recipe(schedule="constant", warmup_steps=16))


def test_only_kernels_decay() -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(4, 8, 3),
            "depthwise": nn.Conv2d(8, 8, 3, groups=8, bias=False),
            "norm": nn.BatchNorm2d(8),
            "linear": nn.Linear(8, 2),
        }
    )
    names = {id(weight): name for name, weight in model.named_parameters()}
    decays = {
        names[id(weight)]: group["weight_decay"]
        for group in weight_groups(model, 0.1)
        for weight in group["params"]  # type: ignore[attr-defined]
    }
    assert {name for name, decay in decays.items() if decay} == {
        "conv.weight",
        "depthwise.weight",
        "linear.weight",
    }
    assert len(decays) == len(names)


def test_the_average_of_weights_follows_its_definition() -> None:
    """EMA after two steps by hand: decay · first + (1 − decay) · second."""
    model, seen = fresh(dropout=0.0), []
    settings = recipe(epochs=1, batch_size=8, ema=0.75)

    def note(step: int, lr: float, loss: float) -> None:
        seen.append(model.head.weight.detach().clone())

    list(train(model, TinyBatches(batch_size=8), settings, seed=0, on_step=note))
    torch.testing.assert_close(model.head.weight.detach(), 0.75 * seen[0] + 0.25 * seen[1])


def test_batch_norm_statistics_measured_anew_are_plain_means() -> None:
    """With a rate of almost nothing the weights stand still, so means can be taken by hand."""
    model, batches = fresh(), TinyBatches()
    settings = recipe(epochs=1, lr=1e-30, weight_decay=0.0, bn_batches=4)
    list(train(model, batches, settings, seed=0))
    first = model.body[0]
    means = [first(b.images.float() / 255).mean((0, 2, 3)) for b in batches.epoch(1)]
    expected = torch.stack(means).mean(0)
    torch.testing.assert_close(model.body[1].running_mean, expected.detach())
    assert model.body[1].momentum == 0.1


def test_the_rate_of_each_step_is_the_schedules() -> None:
    rates: list[float] = []
    settings = recipe(
        schedule="step",
        warmup_steps=4,
        decay_before_end=(1.0,),
        lr=1.0,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        clip_norm=1e-3,
    )
    list(train(fresh(), TinyBatches(), settings, seed=0, on_step=lambda s, lr, _: rates.append(lr)))
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75] + [1.0] * 8 + [0.1] * 4)
