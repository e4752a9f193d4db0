"""Named recipes as data: the published protocols, and short ones for small data.

Sources. SpineNet's paper: arXiv 1912.05027v3 §5.1. Its released configs: tensorflow/tpu,
models/official/detection/configs/ (base_config.py, spinenet/*.yaml). Where both speak, the
released number stands, and `Recipe.choices` says what the other one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from nas.errors import ConfigError
from nas.training.settings import RecipeSettings
from nas.validation import first_problem, hint

_SPINENET: dict[str, Any] = {
    "batch_size": 256,
    "last_batch": "fill",  # 463 steps an epoch of COCO's 118,287 images, as in the configs
    "optimizer": "sgd",
    "lr": 0.28,
    "lr_batch": 256,
    "momentum": 0.9,
    "weight_decay": 4e-5,  # of ½‖w‖², kernels only
    "clip_norm": 10.0,
    "schedule": "step",
    "warmup_steps": 2000,
    "warmup_lr": 0.0067,
    "decay_before_end": (30.0, 10.0),
    "decay_factor": 0.1,
    "flip": True,
    "bn_momentum": 0.01,  # torch's sense: 1 − 0.99
}
_SPINENET_CHOICES = {
    "warmup_steps": "the configs'; 4.3 epochs of COCO, where the paper says 5",
    "clip_norm": "the configs', where weight decay's gradient is clipped too; the paper has none",
    "bn_momentum": "the paper's 0.99 in torch's sense; the configs inherit 0.997",
    "decay_before_end": "paper and configs; tensorflow/models decays 25 and 10 epochs before",
}
_JITTER_CHOICE = "the config's; the paper has 0.5 to 2.0"
_PROTOCOL_C: dict[str, Any] = {
    **_SPINENET,
    "epochs": 500,
    "jitter": (0.5, 2.0),
    "drop_path": 0.2,
    "activation": "swish",
}
_SSDLITE: dict[str, Any] = {
    "epochs": 660,
    "batch_size": 192,  # 8 GPUs × 24
    "empty_images": False,  # 117,266 of COCO's images have boxes: 610 steps an epoch
    "optimizer": "sgd",
    "lr": 0.15,
    "lr_batch": 192,
    "momentum": 0.9,
    "weight_decay": 4e-5,
    "decay_on": "all",
    "schedule": "cosine",
    "cosine_by": "epoch",
    "warmup_steps": 609,  # the first epoch's iterations less one
    "warmup_lr": 0.15e-3,  # a thousandth of the peak
    "iou_crop": True,
    "flip": True,
}
_SHORT: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 16,
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0.02,
    "schedule": "onecycle",
    "flip": True,
    # Torch's own. The networks' 0.01 still holds a quarter of the first statistics after 144 steps,
    # a dozen epochs of two hundred photos.
    "bn_momentum": 0.1,
}


@dataclass(frozen=True)
class Recipe:
    """A named recipe.

    Attributes:
        numbers: settings by name.
        source: where they come from.
        choices: for numbers on which sources disagree, which one stands here, and what else.
        missing: what the source does and this doesn't.
        init: what trainings start from where nothing else is said, as `--init` has it.
    """

    numbers: Mapping[str, Any]
    source: str
    choices: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    init: str = "none"


RECIPES: dict[str, Recipe] = {
    "short": Recipe(
        _SHORT, source="ours: learns a few thousand photos within a dozen epochs", init="auto"
    ),
    "trial": Recipe(
        {**_SHORT, "epochs": 4}, source="ours: short, cut for a search's trials", init="auto"
    ),
    "spinenet_a": Recipe(
        {**_SPINENET, "epochs": 250, "jitter": (0.8, 1.2), "activation": "relu"},
        source="arXiv 1912.05027v3 §5.1, protocol A",
        choices=_SPINENET_CHOICES,
        missing="protocol A's DropBlock: block size and keep probability are not published",
    ),
    "spinenet_b": Recipe(
        {**_SPINENET, "epochs": 350, "jitter": (0.5, 2.0), "activation": "relu"},
        source="arXiv 1912.05027v3 §5.1, protocol B; spinenet/*.yaml: 162,050 steps",
        choices=_SPINENET_CHOICES,
    ),
    "spinenet_c": Recipe(
        _PROTOCOL_C,
        source="arXiv 1912.05027v3 §5.1, protocol C; spinenet/*.yaml: 231,500 steps",
        choices=_SPINENET_CHOICES,
    ),
    "spinenet_c_143": Recipe(
        {**_PROTOCOL_C, "jitter": (0.1, 1.9), "drop_path": 0.16},
        source="protocol C as spinenet143_retinanet.yaml has it: 231,500 steps",
        choices={
            **_SPINENET_CHOICES,
            "jitter": _JITTER_CHOICE,
            "drop_path": "the config's; 0.2 for the other sizes",
        },
    ),
    "spinenet_c_190": Recipe(
        {**_PROTOCOL_C, "epochs": 400, "lr": 0.30, "jitter": (0.1, 1.9)},
        source="protocol C as spinenet190_retinanet.yaml has it: 185,200 steps",
        choices={
            **_SPINENET_CHOICES,
            "jitter": _JITTER_CHOICE,
            "epochs": "the config's; the paper has 500",
            "lr": "the config's; the paper has 0.28",
        },
    ),
    "spinenet_mobile": Recipe(
        {
            **_SPINENET,
            "epochs": 600,
            "weight_decay": 3e-5,
            "warmup_steps": 500,
            "jitter": (0.5, 2.0),
            "activation": "swish",
        },
        source="arXiv 1912.05027v3 appendix A; spinenet_mbconv's config: 277,800 steps",
        choices={
            **_SPINENET_CHOICES,
            "warmup_steps": "inherited from base_config.py; tensorflow/models has 2000",
            "lr": "tensorflow/tpu's; tensorflow/models has 0.32",
            "drop_path": "tensorflow/tpu sets none; tensorflow/models has 0.2",
        },
    ),
    "ssdlite": Recipe(
        _SSDLITE,
        source="pytorch/vision, references/detection: ssdlite320_mobilenet_v3_large, PR 3757",
        missing="the crop of the photo itself: here the pixels at input size are cropped, so that "
        "a small crop is coarser; and batches of similar aspect ratios",
    ),
    "mobiledet": Recipe(
        {
            **_SSDLITE,
            "epochs": 1732,  # of 231 steps: 400,092
            "batch_size": 512,
            "empty_images": True,
            "lr": 0.8,
            "lr_batch": 512,
            "decay_on": "kernels",
            "cosine_by": "step",
            "warmup_steps": 2000,
            "warmup_lr": 0.13333,
        },
        source="tensorflow/models, research/object_detection/samples/configs/ssdlite_mobiledet_*: "
        "400,000 steps",
        choices={"epochs": "whole epochs; the configs have 400,000 steps"},
        missing="the configs' focal loss: SSD's own loss with mined negatives is used; and their "
        "ssd_random_crop: torchvision's crop is used, on pixels at input size",
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
        raise ConfigError(f"recipe {base!r} is unknown{hint(base, RECIPES)}")
    overrides = overrides or {}
    for name in overrides:
        if name not in RecipeSettings.model_fields:
            near = hint(name, RecipeSettings.model_fields)
            raise ConfigError(f"recipe.{name} is no setting{near}")
    try:
        return RecipeSettings(**{**numbers, **overrides, "base": base})
    except ValidationError as error:
        problem = first_problem(error)
        where = ".".join(["recipe", *map(str, problem.steps)])
        raise ConfigError(f"{where}: {problem.message}") from None


def default_init(recipe: RecipeSettings | None) -> str:
    """Returns what a training starts from by default: the recipe's own start, else `auto`."""
    published = RECIPES.get(recipe.base) if recipe is not None else None
    return "auto" if published is None else published.init


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


RecipeField = Annotated[RecipeSettings, BeforeValidator(recipe_from_config)]
"""A field of another group of settings that takes a recipe's name or a table."""
TrialRecipeField = Annotated[
    RecipeSettings, BeforeValidator(partial(recipe_from_config, base="trial"))
]
"""The same for a search's trials, where a table without a `base` deviates from "trial"."""
