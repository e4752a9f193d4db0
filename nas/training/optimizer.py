"""The optimiser of a recipe: decay on kernels only, one fused update."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from nas.training.settings import RecipeSettings

_KERNELS = (nn.modules.conv._ConvNd, nn.Linear)


def weight_groups(
    model: nn.Module, weight_decay: float, decay_on: Literal["kernels", "all"] = "kernels"
) -> list[dict[str, object]]:
    """Splits the trainable weights into those that decay, and the rest, which doesn't.

    Kernels are the `weight` of convolutions (depthwise too) and linear layers; biases, batch
    norms and free parameters are the rest (tensorflow/tpu, base_model.py, regularises
    variables called `kernel` or `weight`). `all` leaves no rest.
    """
    kernels = {id(module.weight) for module in model.modules() if isinstance(module, _KERNELS)}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if decay_on == "all":
        return [{"params": weights, "weight_decay": weight_decay}]
    return [
        {"params": [w for w in weights if id(w) in kernels], "weight_decay": weight_decay},
        {"params": [w for w in weights if id(w) not in kernels], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """Returns the recipe's optimiser; its rate is set before each step by the loop."""
    split = weight_groups(model, recipe.weight_decay, recipe.decay_on)
    groups = [group for group in split if group["params"]]
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, lr=recipe.scaled_lr, momentum=recipe.momentum, fused=True)
        if recipe.momentum and recipe.precision == "fp16":
            # A first update that the scaler skips would leave a fused one's momentum as it found
            # the memory; from zero the first momentum is the gradient all the same.
            for group in sgd.param_groups:
                for weight in group["params"]:
                    sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return sgd
    return torch.optim.AdamW(
        groups,
        lr=recipe.scaled_lr,
        betas=(recipe.momentum, recipe.beta2),
        eps=recipe.eps,
        fused=True,
    )
