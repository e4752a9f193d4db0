"""All that changes while a model is trained, as tensors by name and counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nas.training.ema import averaged
from nas.training.settings import RecipeSettings


@dataclass
class EpochProgress:
    """How far an epoch is that isn't finished.

    Attributes:
        steps: updates made in it.
        sums: of each loss over these steps.
        generators: states of the random numbers, by type of device; filled for a checkpoint alone.
        seconds: of these steps; images: that they saw.
    """

    steps: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    generators: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0


@dataclass
class TrainingState:
    """All that changes while a model is trained; what resuming needs, and no more."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    epoch: int = 0  # epochs finished
    step: int = 0  # updates made
    progress: EpochProgress = field(default_factory=EpochProgress)

    @classmethod
    def start(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: RecipeSettings,
        device: torch.device,
        steps: int = 0,
    ) -> Self:
        """Returns the state before the first update; `steps` updates make the whole training."""
        ema = averaged(model, recipe, steps)
        scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        return cls(model, optimizer, scaler, ema)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors by name: `model.…`, `ema.…`, `optimizer.<moment>.<weight>`."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        for name, weight in self.model.named_parameters():
            for moment, tensor in self.optimizer.state.get(weight, {}).items():
                if isinstance(tensor, Tensor):  # SGD without momentum keeps None
                    tensors[f"optimizer.{moment}.{name}"] = tensor
        tensors |= {f"sums.{name}": tensor for name, tensor in self.progress.sums.items()}
        tensors |= {f"generator.{kind}": state for kind, state in self.progress.generators.items()}
        return tensors

    def counters(self) -> dict[str, Any]:
        """Returns all that isn't a tensor, as JSON values."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "steps_within": self.progress.steps,
            "seconds_within": self.progress.seconds,
            "images_within": self.progress.images,
            "scaler": self.scaler.state_dict(),
        }

    def load(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Takes over what `tensors` and the header's counters hold, in place.

        Moments get the memory layout of their weights, which fused updates expect.
        """
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        if self.ema is not None:
            self.ema.load_state_dict(parts["ema"])
        weights = dict(self.model.named_parameters())
        for name, tensor in parts["optimizer"].items():
            moment, _, weight_name = name.partition(".")
            weight = weights[weight_name]
            like = weight.detach() if tensor.shape == weight.shape else tensor
            copied = torch.empty_like(like, dtype=tensor.dtype, device=weight.device)
            self.optimizer.state[weight][moment] = copied.copy_(tensor)
        self.epoch, self.step = int(counters["epoch"]), int(counters["step"])
        device = next(iter(weights.values())).device
        self.progress = EpochProgress(
            steps=int(counters["steps_within"]),
            sums={name: tensor.to(device) for name, tensor in parts["sums"].items()},
            generators=parts["generator"],
            seconds=float(counters["seconds_within"]),
            images=int(counters["images_within"]),
        )
        if counters["scaler"]:
            self.scaler.load_state_dict(dict(counters["scaler"]))
