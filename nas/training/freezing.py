"""Parts of a model that don't learn, and batch norms that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from nas.errors import ConfigError
from nas.training.settings import RecipeSettings

BACKBONE, BODY, HEAD = "backbone", "body", "head"
_BEHIND = ("endpoint", "neck")
"""The names of a body's parts between backbone and head."""


def freeze(model: nn.Module, recipe: RecipeSettings) -> None:
    """Takes the gradient away from the weights of `recipe.frozen`.

    Raises:
        ConfigError: the model has no such part, or would learn nothing; names what is legal.
    """
    for name in recipe.frozen:
        for module in _parts(model, name):
            module.requires_grad_(False)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError(f"recipe.frozen {list(recipe.frozen)} leaves nothing to learn")


def set_training(model: nn.Module, recipe: RecipeSettings) -> None:
    """Puts a model into training mode, save for the batch norms that stay as they are.

    These are all with `recipe.freeze_bn`, and else those of frozen parts.
    """
    model.train()
    frozen = [module for name in recipe.frozen for module in _parts(model, name)]
    for part in [model] if recipe.freeze_bn else frozen:
        for norm in batch_norms(part):
            norm.eval()


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Returns all batch norms of a model."""
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _parts(model: nn.Module, name: str) -> Iterator[nn.Module]:
    """Yields the modules that a name in `recipe.frozen` stands for."""
    parts = dict(model.get_submodule("body").named_children())
    if name in (BODY, HEAD):
        yield model.get_submodule(name)
    elif name == BACKBONE:
        yield from (module for part, module in parts.items() if not part.startswith(_BEHIND))
    elif name in parts:
        # A block's edges are its own: b07 with b07_e0 and b07_e1.
        yield from (module for part, module in parts.items() if part.split("_e")[0] == name)
    else:
        legal = ", ".join([BACKBONE, BODY, HEAD, *(part for part in parts if "_e" not in part)])
        raise ConfigError(f"recipe.frozen has {name!r}, no part of the model; legal: {legal}")
