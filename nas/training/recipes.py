"""Named recipes as data: the published SpineNet protocols, and short ones for small data.

Sources. Paper: arXiv 1912.05027v3 §5.1. Released configs: tensorflow/tpu,
models/official/detection/configs/spinenet/*.yaml. Where both speak, the released number stands
and the paper's is in the comment.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from nas.errors import ConfigError
from nas.training.settings import RecipeSettings

_SPINENET: dict[str, Any] = {
    "batch_size": 256,
    "optimizer": "sgd",
    "lr": 0.28,
    "lr_batch": 256,
    "momentum": 0.9,
    "weight_decay": 4e-5,  # of ½‖w‖², kernels only; released code clips its gradient too
    "clip_norm": 10.0,
    "schedule": "step",
    "warmup_steps": 2000,  # 4.3 epochs of COCO; the paper says 5 epochs
    "warmup_lr": 0.0067,
    "decay_before_end": (30.0, 10.0),
    "decay_factor": 0.1,
    "flip": True,
    "bn_momentum": 0.01,  # the paper's 0.99 in torch's sense; the released default is 0.997
}
_PROTOCOL_C: dict[str, Any] = {
    **_SPINENET,
    "epochs": 500,
    "jitter": (0.5, 2.0),
    "drop_path": 0.2,
    "activation": "swish",
}
_SHORT: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 16,
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0.02,
    "schedule": "onecycle",
    "flip": True,
}


@dataclass(frozen=True)
class Recipe:
    """A named recipe: its numbers, where they come from, and what could not be had."""

    numbers: Mapping[str, Any]
    source: str
    missing: str = ""


RECIPES: dict[str, Recipe] = {
    "short": Recipe(_SHORT, source="ours: learns a few thousand photos within a dozen epochs"),
    "trial": Recipe(
        {**_SHORT, "epochs": 4, "bn_momentum": 0.1},
        source="ours: short, cut for a search's trials; statistics settle within few steps",
    ),
    "spinenet_a": Recipe(
        {**_SPINENET, "epochs": 250, "jitter": (0.8, 1.2), "activation": "relu"},
        source="arXiv 1912.05027v3 §5.1, protocol A",
        missing="protocol A's DropBlock: block size and keep probability are not published",
    ),
    "spinenet_b": Recipe(
        {**_SPINENET, "epochs": 350, "jitter": (0.5, 2.0), "activation": "relu"},
        source="arXiv 1912.05027v3 §5.1, protocol B; spinenet/*.yaml: 162,050 steps",
    ),
    "spinenet_c": Recipe(
        _PROTOCOL_C,
        source="arXiv 1912.05027v3 §5.1, protocol C; spinenet/*.yaml: 231,500 steps",
    ),
    "spinenet_c_143": Recipe(
        {**_PROTOCOL_C, "jitter": (0.1, 1.9), "drop_path": 0.16},
        source="protocol C as spinenet143_retinanet.yaml has it",
    ),
    "spinenet_c_190": Recipe(
        {**_PROTOCOL_C, "epochs": 400, "lr": 0.30, "jitter": (0.1, 1.9)},
        source="protocol C as spinenet190_retinanet.yaml has it: 185,200 steps",
    ),
}


def resolve(base: str, overrides: Mapping[str, Any] | None = None) -> RecipeSettings:
    """Returns the recipe called `base` with `overrides` in place of its numbers.

    Example:
        >>> resolve("short", {"epochs": 6}).lr
        0.003

    Raises:
        ConfigError: unknown recipe or setting, or a value out of range.
    """
    if base == "custom":
        numbers: Mapping[str, Any] = {}
    elif base in RECIPES:
        numbers = RECIPES[base].numbers
    else:
        raise ConfigError(f"recipe {base!r} is unknown{_nearest(base, RECIPES)}")
    overrides = overrides or {}
    for name in overrides:
        if name not in RecipeSettings.model_fields:
            nearest = _nearest(name, RecipeSettings.model_fields)
            raise ConfigError(f"recipe.{name} is no setting{nearest}")
    try:
        return RecipeSettings(**{**numbers, **overrides, "base": base})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["recipe", *map(str, first["loc"])])
        raise ConfigError(f"{where}: {first['msg']}") from None


def recipe_from_config(value: object, *, base: str = "short") -> RecipeSettings:
    """Reads what a config may hold: a name, or a table with `base` and deviations from it.

    Args:
        value: as YAML has it.
        base: the recipe that a table without a `base` deviates from.
    """
    if isinstance(value, RecipeSettings):
        return value
    if isinstance(value, str):
        return resolve(value)
    if isinstance(value, Mapping):
        table = {str(name): item for name, item in value.items()}
        return resolve(str(table.pop("base", base)), table)
    raise ConfigError(f"recipe {value!r} is neither a name nor a table with a base")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


RecipeField = Annotated[RecipeSettings, BeforeValidator(recipe_from_config)]
"""A field of another group of settings that takes a recipe's name or a table."""
TrialRecipeField = Annotated[
    RecipeSettings, BeforeValidator(partial(recipe_from_config, base="trial"))
]
"""The same for a search's trials, where a table without a `base` deviates from "trial"."""
