"""Published recipes, number by number, each with its source."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from nas.data.batches import steps_an_epoch
from nas.models import build
from nas.training.optimizer import weight_groups
from nas.training.recipes import RECIPES, resolve
from nas.training.schedule import decay_steps, learning_rate
from nas.training.settings import RecipeSettings
from search_spaces import zoo

COCO_IMAGES = 118_287
COCO_IMAGES_WITH_BOXES = 117_266

# tensorflow/tpu, models/official/detection/configs/spinenet/*.yaml
SPINENET = {
    "batch_size": 256,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 4e-5,
    "decay_on": "kernels",
    "clip_norm": 10.0,
    "schedule": "step",
    "warmup_steps": 2000,
    "warmup_lr": 0.0067,
    "decay_factor": 0.1,
    "flip": True,
    "iou_crop": False,
    "bn_momentum": 0.01,  # arXiv 1912.05027v3 §5.1: 0.99 in TensorFlow's sense
    "ema": 0.0,
}
# Epochs, peak rate, jitter, stochastic depth, activation; the same configs and §5.1. 143 and 190
# have the configs' jitter; 190 the configs' epochs and rate.
PROTOCOLS: dict[str, tuple[int, float, tuple[float, float], float, str]] = {
    "spinenet_a": (250, 0.28, (0.8, 1.2), 0.0, "relu"),
    "spinenet_b": (350, 0.28, (0.5, 2.0), 0.0, "relu"),
    "spinenet_c": (500, 0.28, (0.5, 2.0), 0.2, "swish"),
    "spinenet_c_143": (500, 0.28, (0.1, 1.9), 0.16, "swish"),
    "spinenet_c_190": (400, 0.30, (0.1, 1.9), 0.2, "swish"),
}
# Updates in all, and those from which the rate is a tenth and a hundredth: the configs'
# total_steps and learning_rate_steps; protocol A's follow from its 250 epochs.
STEPS = {
    "spinenet_a": (115_750, [101_860, 111_120]),
    "spinenet_b": (162_050, [148_160, 157_420]),
    "spinenet_c": (231_500, [217_610, 226_870]),
    "spinenet_c_143": (231_500, [217_610, 226_870]),
    "spinenet_c_190": (185_200, [171_310, 180_570]),
    "spinenet_mobile": (277_800, [263_910, 273_170]),
}


def settings(recipe: RecipeSettings, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in names}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_have_the_published_numbers(name: str) -> None:
    recipe = resolve(name)
    epochs, peak, jitter, drop_path, activation = PROTOCOLS[name]
    assert settings(recipe, SPINENET) == SPINENET
    assert (recipe.epochs, recipe.scaled_lr, recipe.jitter) == (epochs, peak, jitter)
    assert (recipe.drop_path, recipe.activation) == (drop_path, activation)


@pytest.mark.parametrize("name", STEPS)
def test_steps_on_coco_are_the_configs(name: str) -> None:
    recipe = resolve(name)
    each = steps_an_epoch(COCO_IMAGES, recipe.batch_size, recipe.last_batch)
    assert each == 463
    assert (recipe.epochs * each, decay_steps(recipe, each)) == STEPS[name]


def test_spinenet_mobile_has_the_published_numbers() -> None:
    """tensorflow/tpu's config of spinenet_mbconv, whose warm-up is base_config.py's."""
    recipe = resolve("spinenet_mobile")
    changed = {**SPINENET, "weight_decay": 3e-5, "warmup_steps": 500}
    assert settings(recipe, changed) == changed
    assert (recipe.epochs, recipe.scaled_lr, recipe.jitter) == (600, 0.28, (0.5, 2.0))
    assert (recipe.drop_path, recipe.activation) == (0.0, "swish")


def test_ssdlite_has_the_published_numbers() -> None:
    """pytorch/vision, references/detection: README.md, train.py, presets.py; PR 3757."""
    published = {
        "epochs": 660,
        "batch_size": 8 * 24,
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": 0.15,
        "weight_decay": 4e-5,
        "decay_on": "all",
        "clip_norm": None,
        "schedule": "cosine",
        "cosine_by": "epoch",
        "iou_crop": True,
        "flip": True,
        "jitter": None,
    }
    recipe = resolve("ssdlite")
    assert settings(recipe, published) == published
    assert not recipe.empty_images
    assert steps_an_epoch(COCO_IMAGES_WITH_BOXES, 192, recipe.last_batch) == 610


def test_ssdlite_s_rates_are_torch_s() -> None:
    """Its loop steps LinearLR with the updates of epoch 0, and CosineAnnealingLR with epochs."""
    recipe, steps = resolve("ssdlite"), 610
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.15)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=660)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=609)
    for step in range(steps):
        ours = learning_rate(recipe, step, steps)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        warm_up.step()
    for epoch in range(1, 660):
        cosine.step()
        for step in (epoch * steps, (epoch + 1) * steps - 1):
            ours = learning_rate(recipe, step, steps)
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)


def test_mobiledet_has_the_published_numbers() -> None:
    """tensorflow/models, samples/configs/ssdlite_mobiledet_*: 400,000 steps of 512 images."""
    published = {
        "batch_size": 512,
        "lr": 0.8,
        "momentum": 0.9,
        "weight_decay": 4e-5,
        "warmup_steps": 2000,
        "warmup_lr": 0.13333,
        "schedule": "cosine",
        "cosine_by": "step",
    }
    recipe = resolve("mobiledet")
    assert settings(recipe, published) == published
    steps = recipe.epochs * steps_an_epoch(COCO_IMAGES, 512, recipe.last_batch)
    assert steps == pytest.approx(400_000, rel=3e-4)  # whole epochs


@pytest.mark.parametrize("name", [*PROTOCOLS, "spinenet_mobile", "ssdlite", "mobiledet"])
def test_choices_name_settings_and_say_what_else(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.source
    assert set(recipe.choices) <= set(RecipeSettings.model_fields)
    assert all(recipe.choices.values())


def test_where_sources_disagree_the_choice_is_said() -> None:
    assert {"warmup_steps", "bn_momentum"} <= set(RECIPES["spinenet_c"].choices)
    assert "0.5 to 2.0" in RECIPES["spinenet_c_143"].choices["jitter"]
    assert "500" in RECIPES["spinenet_c_190"].choices["epochs"]
    assert "0.28" in RECIPES["spinenet_c_190"].choices["lr"]


@pytest.mark.parametrize(
    ("name", "recipe", "rate"),
    [("spinenet-49", "spinenet_c", 0.2), ("spinenet-143", "spinenet_c_143", 0.16)],
)
def test_stochastic_depth_of_each_block(name: str, recipe: str, rate: float) -> None:
    """p · (i + 1) / n for permuted block i of n, each repeat alike, none in the stem.

    tensorflow/tpu, modeling/architecture/spinenet.py, with nn_ops' get_drop_connect_rate.
    """
    small = zoo.genome(name).scaled(width=0.0625, head_width=8, input_size=128)
    model, blocks = build(small, 4, drop_path=resolve(recipe).drop_path), 15
    found: list[float] = [m.p for m in model.modules() if isinstance(m, StochasticDepth)]
    per_block = sorted(set(found))
    assert per_block == pytest.approx([rate * (i + 1) / blocks for i in range(blocks)])
    assert per_block[0] == pytest.approx(rate / 15) and per_block[-1] == pytest.approx(rate)
    deep = [part for part in model.body.values() if any(map(is_depth, part.modules()))]
    assert len(deep) == blocks  # of 17


def is_depth(module: nn.Module) -> bool:
    return isinstance(module, StochasticDepth)


def test_swish_is_a_derived_genome() -> None:
    """Protocol C's network has another key than protocol B's, and no rectifier is left."""
    genome = zoo.genome("spinenet-49").scaled(width=0.0625, head_width=8, input_size=128)
    swish = genome.with_activation("swish")
    assert swish.key != genome.key
    kinds = {type(module) for module in build(swish, 4).modules()}
    assert nn.SiLU in kinds and nn.ReLU not in kinds


def test_decay_on_all_leaves_no_weight_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    (group,) = weight_groups(model, 0.1, "all")
    assert [id(weight) for weight in group["params"]] == [id(w) for w in model.parameters()]  # type: ignore[attr-defined]
    assert group["weight_decay"] == 0.1
