"""What a training shows before it begins: its plan, the recipe's numbers in full."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from rich.table import Table

from nas.config.schema import TrainConfig
from nas.cost import profile
from nas.data.batches import steps_an_epoch
from nas.data.coco import Split
from nas.errors import ConfigError
from nas.genome import Genome
from nas.training.recipes import RECIPES
from nas.training.schedule import check_schedule, decay_steps
from nas.training.settings import RecipeSettings
from nas.ui.console import console


def device_of(config: TrainConfig) -> str:
    """Returns `cuda` where there is one that may be used, else `cpu`."""
    may_use = config.compute.gpus_per_worker != 0
    return "cuda" if may_use and torch.cuda.is_available() else "cpu"


def check_device(config: TrainConfig) -> None:
    """Refuses a GPU that isn't there; several workers' are looked for where they are started.

    Raises:
        ConfigError: names the setting to change.
    """
    compute = config.compute
    if compute.workers == 1 and compute.gpus == 1 and not torch.cuda.is_available():
        raise ConfigError(
            "compute.gpus_per_worker is 1, and no GPU is seen here; set it to 0 or auto"
        )


def show_plan(config: TrainConfig, genome: Genome, split: Split, val: Split) -> None:
    """Prints the plan of a training.

    Raises:
        ConfigError: batches of one image, or a warm-up as long as the training.
    """
    if config.recipe.batch_size < 2:
        raise ConfigError("recipe.batch_size is 1; batch norm needs at least 2 images")
    check_schedule(config.recipe, epoch_steps(split, config.recipe))
    table = Table(title="plan of the training", show_header=False, title_justify="left")
    for name, value in plan_rows(config, genome, split, val).items():
        table.add_row(name, value)
    console.print(table)


def plan_rows(config: TrainConfig, genome: Genome, split: Split, val: Split) -> Mapping[str, str]:
    """Returns the plan as names and texts."""
    recipe, published = config.recipe, RECIPES.get(config.recipe.base)
    cost = profile(genome, num_classes=1 + len(split.categories))
    images, steps = shown_images(split, recipe), epoch_steps(split, recipe)
    rows = {
        "architecture": f"{genome.name or config.genome}, {cost.params / 1e6:.2f} M parameters, "
        f"{cost.macs / 1e9:.3f} G multiply-adds",
        "input": f"{genome.input.size} px, {genome.input.resize}",
        "images": f"{len(split):,} to train on, {len(val):,} to judge on, "
        f"{len(split.categories)} classes",
        "recipe": recipe.base + (f": {published.source}" if published else ""),
        "length": f"{recipe.epochs} epochs of {steps:,} steps: {recipe.epochs * steps:,} steps"
        f"{_rest(images, recipe)}{_empty(split, images)}",
        "batch": f"{recipe.batch_size} images" + _micro(recipe),
        "optimiser": optimizer_text(recipe),
        "learning rate": rate_text(recipe, steps),
        "augmentation": augmentation_text(recipe),
        "stochastic depth": f"{recipe.drop_path:g} at the last block, less before it in proportion"
        if recipe.drop_path
        else "none",
        "activation": recipe.activation or "the architecture's own",
        "batch norm": f"momentum {recipe.bn_momentum or genome.norm.momentum:g}, as torch counts"
        + (f"; measured anew over the last {recipe.bn_batches}" if recipe.bn_batches else ""),
        "average of weights": average_text(recipe),
        "computed in": f"{recipe.precision} on {device_of(config)}",
    }
    if published is not None and published.missing:
        rows["not as there"] = published.missing
    choices = choices_text(recipe)
    return rows | ({"sources disagree": choices} if choices else {})


def shown_images(split: Split, recipe: RecipeSettings) -> int:
    """Returns how many images an epoch chooses from."""
    if recipe.empty_images:
        return len(split)
    return sum(not image.crowd.all() for image in split.images)


def epoch_steps(split: Split, recipe: RecipeSettings) -> int:
    """Returns the updates of an epoch."""
    return steps_an_epoch(shown_images(split, recipe), recipe.batch_size, recipe.last_batch)


def optimizer_text(recipe: RecipeSettings) -> str:
    """Returns the optimiser with its numbers."""
    name = "SGD" if recipe.optimizer == "sgd" else "AdamW"
    betas = "" if name == "SGD" else f" and {recipe.beta2:g}"
    on = "kernels only" if recipe.decay_on == "kernels" else "all weights"
    clip = "not clipped" if recipe.clip_norm is None else f"clipped at norm {recipe.clip_norm:g}"
    return (
        f"{name}, momentum {recipe.momentum:g}{betas}, weight decay "
        f"{recipe.weight_decay:g} on {on}, gradients {clip}"
    )


def rate_text(recipe: RecipeSettings, steps: int) -> str:
    """Returns the learning rate's course: peak, warm-up, decays in epochs and steps."""
    parts = [f"{recipe.scaled_lr:g}"]
    if recipe.lr_batch and recipe.lr_batch != recipe.batch_size:
        parts[0] += f" ({recipe.lr:g} for batches of {recipe.lr_batch}, scaled to this one)"
    if recipe.schedule == "onecycle":
        parts.append(
            f"one cycle from {recipe.scaled_lr * recipe.start_factor:g}, up over "
            f"{recipe.warmup_share:.0%} of the steps, down to {recipe.end_factor:g} of it"
        )
        return "; ".join(parts)
    if recipe.warmup_steps:
        start = recipe.warmup_lr * recipe.lr_factor
        parts.append(
            f"warm-up over {recipe.warmup_steps:,} steps ({recipe.warmup_steps / steps:.1f} "
            f"epochs) from {start:g}"
        )
    if recipe.schedule == "step":
        for before, step in zip(recipe.decay_before_end, decay_steps(recipe, steps), strict=True):
            epoch = recipe.epochs - before
            parts.append(f"× {recipe.decay_factor:g} after epoch {epoch:g}, from step {step:,}")
    elif recipe.schedule == "cosine":
        parts.append(f"a cosine to {recipe.end_factor:g}, lower with each {recipe.cosine_by}")
    else:
        parts.append("constant")
    return "; ".join(parts)


def average_text(recipe: RecipeSettings) -> str:
    """Returns what becomes of the average of weights."""
    if recipe.ema_share:
        return f"over {recipe.ema_share:.0%} of the steps, over fewer at first"
    return f"decay {recipe.ema:g} a step" if recipe.ema else "none"


def augmentation_text(recipe: RecipeSettings) -> str:
    """Returns what is changed in images, in order."""
    parts = ["crop around a box (IoU)"] if recipe.iou_crop else []
    if recipe.augment_by_passes:
        parts.append(f"as strong as {recipe.epochs} passes over the data ask for")
    elif recipe.augment is not None:
        written = recipe.augment.model_dump(exclude_defaults=True)
        parts += [f"{name} {_short(value)}" for name, value in written.items()]
    parts += ["half of them mirrored"] if recipe.flip else []
    parts += ["half of them upside down"] if recipe.flip_vertical else []
    parts += ["turned by quarters"] if recipe.quarter_turns else []
    if recipe.jitter is not None:
        parts.append("scale {:g} to {:g}, cropped or padded".format(*recipe.jitter))
    return ", ".join(parts) or "none"


def choices_text(recipe: RecipeSettings) -> str:
    """Returns the source of each number that sources disagree on; not of what was set otherwise."""
    published = RECIPES.get(recipe.base)
    if published is None:
        return ""
    lines = []
    for name, choice in published.choices.items():
        default = RecipeSettings.model_fields[name].default
        if getattr(recipe, name) == published.numbers.get(name, default):
            lines.append(f"{name} {_short(getattr(recipe, name))}: {choice}")
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _micro(recipe: RecipeSettings) -> str:
    at_once = recipe.micro_batch
    return f", {at_once} at once, gradients summed" if at_once else ""


def _rest(images: int, recipe: RecipeSettings) -> str:
    """Says what becomes of the images that don't fill a batch."""
    rest = images % recipe.batch_size
    if not rest or images < recipe.batch_size:
        return ""
    if recipe.last_batch == "drop":
        return f"; {rest:,} of an epoch's images don't fill a batch and are left out of it"
    missing = recipe.batch_size - rest
    return f"; the last batch is filled up with {missing:,} images from the epoch's start"


def _empty(split: Split, shown: int) -> str:
    left = len(split) - shown
    return f"; {left:,} images without a box are left out" if left else ""
