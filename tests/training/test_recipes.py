from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel

from nas.data.settings import AugmentSettings
from nas.errors import ConfigError
from nas.training.recipes import RECIPES, RecipeField, resolve
from nas.training.settings import LATER


class Job(BaseModel):
    recipe: RecipeField


def test_a_config_may_hold_a_name_or_a_table() -> None:
    assert Job.model_validate({"recipe": "spinenet_c"}).recipe == resolve("spinenet_c")
    table = {"base": "short", "epochs": 6, "batch_size": 8}
    assert Job.model_validate({"recipe": table}).recipe == resolve(
        "short", {"epochs": 6, "batch_size": 8}
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_resolved_recipe_written_out_reads_back_equal(name: str) -> None:
    recipe = resolve(name, {"epochs": 100})
    assert recipe.base == name
    assert Job.model_validate_json(Job(recipe=recipe).model_dump_json()).recipe == recipe


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        ("spinenet", {}, "recipe 'spinenet' is unknown; did you mean 'spinenet_"),
        ("short", {"epoch": 3}, "recipe.epoch is no setting; did you mean 'epochs'?"),
        ("short", {"epochs": 0}, "recipe.epochs: .*greater than or equal to 1"),
        ("short", {"jitter": (2.0, 1.0)}, "jitter .* is no range"),
        ("short", {"augment": {"scale": (2.0, 1.0)}}, "recipe.augment: .*scale .* is no range"),
        ("short", {"augment": {"mosaic": 2}}, "recipe.augment.mosaic: .*less than or equal to 1"),
        ("ssdlite", {"augment": {"scale": (0.5, 1.0)}}, "augment and iou_crop say twice"),
        ("spinenet_c", {"augment_by_passes": True}, "augment_by_passes and jitter say twice"),
        ("short", {"quarter_turns": True}, "quarter_turns: images are turned with augment"),
        ("short", {"ema": 0.9, "ema_share": 0.1}, "ema 0.9 fixes the decay, ema_share 0.1"),
        ("spinenet_b", {"epochs": 12}, r"decay_before_end \[30.0\] lies outside the 12 epochs"),
        ("custom", {}, "recipe.epochs: Field required"),
    ],
)
def test_errors_name_the_setting(base: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resolve(base, changes)
    assert "\n" not in str(error.value)


def test_a_record_leaves_later_settings_out_at_their_default() -> None:
    """So that a search of an earlier release goes on; what is set makes another one."""
    record = resolve("trial").record()
    assert not set(LATER) & set(record) and record["lr"] == 3e-3
    assert resolve("trial", {"iou_crop": True}).record() == record | {"iou_crop": True}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_before_have_no_new_augmentation(name: str) -> None:
    recipe = resolve(name)
    assert recipe.augment is None
    assert not (recipe.augment_by_passes or recipe.flip_vertical or recipe.quarter_turns)
    assert (recipe.oversample, recipe.ema_share) == (1, 0.0)


def test_augmentation_is_read_from_a_table() -> None:
    recipe = resolve("short", {"augment": {"mosaic": 0.5, "oversample": 1}, "quarter_turns": True})
    assert recipe.augment == AugmentSettings(mosaic=0.5, oversample=1)
    assert recipe.oversample == 1
    assert resolve("short", {"augment_by_passes": True}).oversample == 2
    assert Job.model_validate_json(Job(recipe=recipe).model_dump_json()).recipe == recipe


def test_what_is_not_published_is_said() -> None:
    assert "DropBlock" in RECIPES["spinenet_a"].missing


def test_recipes_need_no_torch() -> None:
    code = "import sys, nas.training.recipes; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["short", "trial"])
def test_statistics_settle_within_a_hundred_steps(name: str) -> None:
    """What batch norms began with is then under 1 % of what they are judged with."""
    momentum = resolve(name).bn_momentum
    assert momentum is not None and (1 - momentum) ** 100 < 0.01
